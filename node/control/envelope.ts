/**
 * What every answer is wrapped in, the same from the CLI and from the status endpoint: its kind, when it was made, how
 * old its oldest part is, and what to mind when reading it. A failure has an envelope of its own.
 */
import { describeFailure, exitOf, type Failure, nextStep, RULES } from '../../protocols/errors.ts'
import { STALE_MS } from '../../protocols/limits.ts'
import type { Method } from '../operations.ts'
import type { SCHEMA_VERSION } from '../views.ts'

/** views.ts loads zod, which a command that only prints does not need; the type keeps the two in step. */
export const SCHEMA: typeof SCHEMA_VERSION = 1

export type Envelope = {
  readonly schema: typeof SCHEMA
  readonly kind: string
  readonly items?: readonly unknown[]
  readonly item?: unknown
  /** Of a list that was cut: what `--page-token` takes to go on. */
  readonly nextPageToken?: string
  readonly warnings: readonly string[]
  readonly asOf: string
  /** Age of the oldest news in it, in ms; 0 when all is known first hand. */
  readonly staleMs: number
}

export type ErrorEnvelope = {
  readonly schema: typeof SCHEMA
  readonly kind: 'error'
  readonly code: string
  readonly exit: number
  readonly message: string
  /** The peer that was asked; empty when none was reached. */
  readonly peer: string
  readonly next: string
  readonly details: Readonly<Record<string, unknown>>
}

/** What an operation answers with, by name: one schema each. */
export const KINDS: { readonly [M in Method]: string } = {
  status: 'status',
  'peer.list': 'peer',
  'peer.show': 'peer',
  'site.list': 'site',
  'vm.list': 'vm',
  'vm.show': 'vm-detail',
  'vm.create': 'vm-placement',
  'vm.start': 'vm',
  'vm.stop': 'vm',
  'vm.delete': 'vm-deleted',
  'vm.move': 'job-started',
  'vm.logs': 'log',
  'vm.plan': 'operation',
  'image.list': 'image',
  'image.show': 'image',
  'image.import': 'job-started',
  'image.locations': 'image-location',
  'image.plan': 'image-plan',
  'image.publish': 'job-started',
  'image.unpublish': 'image-unpublished',
  'image.pull': 'job-started',
  'image.export': 'job-started',
  'image.verify': 'job-started',
  'image.pin': 'image-pin',
  'image.kept': 'kept-copy',
  'image.prune': 'prune-item',
  'job.list': 'job',
  'job.show': 'job',
  'job.cancel': 'job',
  'raft.list': 'group',
  'raft.health': 'raft-health',
  'raft.transfer': 'raft-transfer',
  'raft.snapshot.save': 'raft-snapshot',
  'peer.drain': 'peer',
  'peer.remove': 'peer-removal',
  'token.create': 'token-created',
  'token.list': 'token',
  'token.revoke': 'token',
}

export function envelope(kind: string, answer: unknown, asOf: string): Envelope {
  const list = Array.isArray(answer)
  const items: readonly unknown[] = list ? answer : [answer]
  const ages = items.map(ageOf)
  const staleMs = Math.max(0, ...ages)
  // Old by its age, or by what its giver knows: a group without a leader has no present.
  const stale = items.filter((item, at) => (ages[at] ?? 0) > STALE_MS || isStale(item)).length
  const warnings =
    stale === 0
      ? []
      : [`${stale} of ${items.length} may be wrong by now: as of ${Math.ceil(staleMs / 1_000)} s ago`]
  return { schema: SCHEMA, kind, ...(list ? { items } : { item: answer }), warnings, asOf, staleMs }
}

export function errorEnvelope(failure: Failure, peer: string): ErrorEnvelope {
  const { code, ...details } = failure
  if (!Object.hasOwn(RULES, code)) {
    // A newer peer may fail in ways that this program has not heard of.
    return { schema: SCHEMA, kind: 'error', code, exit: 1, message: code, peer, next: '', details }
  }
  const [exit, message, next] = [exitOf(failure), describeFailure(failure), nextStep(failure) ?? '']
  return { schema: SCHEMA, kind: 'error', code, exit, message, peer, next, details }
}

const isStale = (item: unknown): boolean => {
  const { stale, vm } = (item ?? {}) as { stale?: unknown; vm?: { stale?: unknown } | string }
  return stale === true || (typeof vm === 'object' && vm.stale === true)
}

/** Of a view, or of the view in a detail. */
function ageOf(item: unknown): number {
  const { ageMs, vm } = (item ?? {}) as { ageMs?: unknown; vm?: { ageMs?: unknown } | string }
  const age = ageMs ?? (typeof vm === 'object' ? vm.ageMs : 0)
  return typeof age === 'number' ? age : 0
}
