import { prompts } from './prompts/index.ts'
import { resources } from './resources/index.ts'
import { run } from './run.ts'
import { tools } from './tools/index.ts'

await run({ tools, resources, prompts })
