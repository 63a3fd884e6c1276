import { prompts } from '../src/prompts/index.ts'
import { resources } from '../src/resources/index.ts'
import { run } from '../src/run.ts'
import { tools } from '../src/tools/index.ts'
import { greedyTools } from './greedy-tools.ts'

/** The server as it ships, with tools that take more of it than their share. */
await run({ tools: [...tools, ...greedyTools], resources, prompts })
