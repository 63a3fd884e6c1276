// optional: stdio
import { catalog } from './catalog.ts'
import { runStdio } from './stdio/run.ts'

await runStdio(catalog)
