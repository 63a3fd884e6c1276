import { z } from 'zod'
import { defineTool } from '../define.ts'
import { findReport, removeReport, reportId, reportUri } from '../resources/report.ts'

/**
 * An id that is unknown, expired or somebody else's gives `{ deleted: false }` and asks nobody: a
 * second call is as good as one, and ids of other callers cannot be told apart from free ones.
 */
export const deleteReport = defineTool({
  name: 'delete_report',
  title: 'Delete a report',
  description: 'Deletes one of your reports for good, after you have confirmed it.',
  annotations: {
    readOnlyHint: false,
    destructiveHint: true,
    idempotentHint: true,
    openWorldHint: false,
  },
  input: z.strictObject({ id: reportId }),
  output: z.strictObject({
    deleted: z.boolean().describe('False when there was no such report or you declined.'),
  }),
  longRunning: false,

  async run({ id }, { confirm, store, resourceUpdated, resourceListChanged }) {
    if ((await findReport(store, id)) === undefined) return { deleted: false }
    if (!(await confirm(`Delete report ${id}? This cannot be undone.`))) return { deleted: false }
    const deleted = await removeReport(store, id)
    if (deleted) {
      resourceUpdated(reportUri(id))
      resourceListChanged()
    }
    return { deleted }
  },
})
