import type { Catalog } from './define.ts'
import { prompts } from './prompts/index.ts'
import { resources } from './resources/index.ts'
import { tools } from './tools/index.ts'

/** Everything this server offers. */
export const catalog: Catalog = { tools, resources, prompts }
