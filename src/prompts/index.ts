import type { Prompt } from '../define.ts'
import { summarizeReport } from './summarize-report.ts'

/** Every prompt, in the order callers see. Each needs an entry in `policies/access.yaml`. */
export const prompts: readonly Prompt[] = [summarizeReport]
