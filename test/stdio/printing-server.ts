import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { runStdio } from '../../src/stdio/run.ts'
import { tools } from '../../src/tools/index.ts'
import { printingTools } from './printing-tools.ts'

/** The server as it ships, with tools that do what a tool on standard output must not do. */
await runStdio({ tools: [...tools, ...printingTools], resources, prompts })
