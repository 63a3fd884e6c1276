export const USAGE = `Usage: npm run client -- URL COMMAND [options]

Commands
  list            tools, resources and prompts of the server
  call TOOL       calls a tool; shows its progress and log messages as they arrive
  read URI        reads a resource
  prompt NAME     renders a prompt
  login           logs you in at the issuer of the server, in your browser; the others use that login
  logout          revokes and deletes it

Options
  --key KEY           API key or access token; better in the environment: GATEHOUSE_KEY.
                      Without one, the login is used
  --args JSON         arguments of the tool or prompt, a JSON object
  --files PATTERN     text files, such as 'docs/*.md', as the argument "documents"; repeatable
  --json              one JSON line for each notification as it arrives, and for the result
  --era ERA           auto (default), modern (2026-07-28), legacy (2025 revisions)
  --log-level LEVEL   least severe log message to show: debug, info (default), … emergency
  --timeout SECONDS   give up when nothing arrives for so long (default 120)
  --yes               answers yes when a tool asks for confirmation
  --step-up           asks the issuer, in your browser, for scopes that a call lacks: the default at
                      a terminal; --no-step-up does not
  --help              shows this

Options of login
  --scope 'A B'       scopes to ask for, besides those that the server names
  --client-id ID      this client as it is registered with the issuer, redirect URI
                      http://127.0.0.1/callback; without it, it registers itself
  --client-secret-file FILE   its secret, if it has one
  --client-metadata-url URL   its Client ID Metadata Document, used if the issuer supports that
  --redirect-port PORT        port of 127.0.0.1 to which the browser comes back (default: a free one)
  --no-browser        only prints the address. Otherwise the command in BROWSER opens it, or the system

Exit codes
  0 ok   1 the tool or the server answered with an error   2 usage   3 cannot connect
  4 refused (401, 403)   5 limited (429)   130 cancelled with Ctrl-C`
