import { prompts } from '../src/prompts/index.ts'
import { resources } from '../src/resources/index.ts'
import { run } from '../src/run.ts'
import { tools } from '../src/tools/index.ts'
import { connectingTools } from './connecting-tools.ts'

/** The server as it ships, with tools that open connections. */
await run({ tools: [...tools, ...connectingTools], resources, prompts })
