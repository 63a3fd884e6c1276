import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { runStdio } from '../../src/stdio/run.ts'
import { tools } from '../../src/tools/index.ts'
import { matrixTools } from './tools.ts'

/** The server as it ships, with what the matrix of clients calls. */
await runStdio({ tools: [...tools, ...matrixTools], resources, prompts })
