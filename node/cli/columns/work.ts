/** How jobs and what is about this program alone look as a table. */
import type { JobView } from '../../views.ts'
import { humanBytes, humanSeconds, humanShare, humanTime } from '../human.ts'
import { age, type View, view } from './column.ts'

const job: View<JobView> = {
  name: ({ id }) => id,
  columns: [
    { key: 'id', value: (v) => v.id },
    { key: 'kind', value: (v) => v.kind },
    { key: 'subject', value: (v) => v.subject },
    { key: 'peer', value: (v) => v.peer },
    { key: 'state', value: (v) => v.state },
    { key: 'phase', value: (v) => v.phase },
    {
      key: 'done',
      right: true,
      value: (v) => v.doneBytes,
      text: (v) => (v.totalBytes === 0 ? '-' : humanShare(v.doneBytes / v.totalBytes)),
    },
    { key: 'wire', right: true, value: (v) => v.wireBytes, text: (v) => humanBytes(v.wireBytes) },
    { key: 'started', value: (v) => v.startedAt, text: (v, nowMs) => humanTime(v.startedAt, nowMs) },
    { key: 'error', value: (v) => v.error },
    {
      key: 'total',
      wide: true,
      right: true,
      value: (v) => v.totalBytes,
      text: (v) => humanBytes(v.totalBytes),
    },
    {
      key: 'rate',
      wide: true,
      right: true,
      value: (v) => v.bytesPerSecond,
      text: (v) => `${humanBytes(v.bytesPerSecond)}/s`,
    },
    { key: 'sources', wide: true, right: true, value: (v) => v.sources },
    {
      key: 'logical',
      wide: true,
      right: true,
      value: (v) => v.logicalBytes,
      text: (v) => humanBytes(v.logicalBytes),
    },
    {
      key: 'dedup',
      wide: true,
      right: true,
      value: (v) => v.dedupBytes,
      text: (v) => humanBytes(v.dedupBytes),
    },
    {
      key: 'compressed',
      wide: true,
      right: true,
      value: (v) => v.compressedBytes,
      text: (v) => humanBytes(v.compressedBytes),
    },
    {
      key: 'standstill',
      wide: true,
      right: true,
      value: (v) => v.standstillMs,
      text: (v) => (v.standstillMs === null ? '-' : humanSeconds(v.standstillMs)),
    },
    {
      key: 'ended',
      wide: true,
      value: (v) => v.endedAt,
      text: (v, nowMs) => (v.endedAt === null ? '-' : humanTime(v.endedAt, nowMs)),
    },
    { ...age, wide: true },
  ],
}

/** By kind, as in an envelope. */
export const WORK: Readonly<Record<string, View>> = {
  job: view(job),
  'job-started': view<{ job: string }>({
    name: ({ job }) => job,
    columns: [{ key: 'job', value: (v) => v.job }],
  }),
  setting: view<{ key: string; value: unknown; origin?: string }>({
    name: ({ key }) => key,
    columns: [
      { key: 'key', value: (v) => v.key },
      { key: 'value', value: (v) => (typeof v.value === 'string' ? v.value : JSON.stringify(v.value)) },
      { key: 'origin', wide: true, value: (v) => v.origin ?? '' },
    ],
  }),
  version: view<{ version: string; node: string }>({
    name: ({ version }) => version,
    columns: [
      { key: 'version', value: (v) => v.version },
      { key: 'node', value: (v) => v.node },
    ],
  }),
}
