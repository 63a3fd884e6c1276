import type { Resource } from '../define.ts'
import { report } from './report.ts'

/** Every resource, in the order callers see. Each needs an entry in `policies/access.yaml`. */
export const resources: readonly Resource[] = [report]
