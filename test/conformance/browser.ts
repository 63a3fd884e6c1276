/** A browser without a person: opens the page, follows every redirect, and ends. */
const [page = ''] = process.argv.slice(2)
await fetch(page)
