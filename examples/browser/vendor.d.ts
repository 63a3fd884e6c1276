/** Where the page's server puts packages, so that the type checker finds them. */
declare module '*/vendor/oauth4webapi.js' {
  export * from 'oauth4webapi'
}
declare module '*/vendor/eventsource-parser/stream.js' {
  export * from 'eventsource-parser/stream'
}
