import { prompts } from '../src/prompts/index.ts'
import { resources } from '../src/resources/index.ts'
import { run } from '../src/run.ts'
import { tools } from '../src/tools/index.ts'
import { misbehavingTools } from './misbehaving-tools.ts'

/** The server as it ships, with tools that do what a fork's tools must not do. */
await run({ tools: [...tools, ...misbehavingTools], resources, prompts })
