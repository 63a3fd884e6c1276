import type { Tool } from '../define.ts'
import { deleteReport } from './delete-report.ts'
import { echo } from './echo.ts'
import { processDocuments } from './process-documents.ts'
import { whoami } from './whoami.ts'

/** Every tool, in the order callers see. Each needs an entry in `policies/access.yaml`. */
export const tools: readonly Tool[] = [echo, whoami, processDocuments, deleteReport]
