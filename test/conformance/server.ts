import { run } from '../../src/run.ts'
import { prompts } from './catalog/prompts.ts'
import { resources } from './catalog/resources.ts'
import { sdkTools } from './catalog/sdk-tools.ts'
import { TASK_TOOLS } from './catalog/task-tools.ts'
import { plainTools } from './catalog/tools.ts'

/** The server as it ships, with what the conformance suite expects to find. */
await run({ tools: [...plainTools, ...sdkTools, ...TASK_TOOLS], resources, prompts })
