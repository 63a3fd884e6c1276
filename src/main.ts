import { catalog } from './catalog.ts'
import { run } from './run.ts'

await run(catalog)
