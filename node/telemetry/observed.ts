/**
 * The newest sample of each peer of this site and the newest digest of each site, with the time they arrived. Bounded by
 * the peers and sites that are known: `keep` drops the others.
 *
 * Newest is the later life of the author, then its later number; of digests, first the later term of the site's group.
 * What is not newer is dropped without a word, as is what comes from a peer that our copy of the mesh log does not name
 * yet. What its author may not say is rejected, and costs who sent it.
 */
import type { Verdict } from '../../protocols/broadcast.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { SILENCE_MS } from '../../protocols/limits.ts'
import type { Digest, Sample } from '../../protocols/telemetry/messages.ts'

export type Observed = {
  readonly samples: Map<PeerId, Seen<Sample>>
  readonly digests: Map<string, Seen<Digest>>
}
type Seen<T> = { readonly value: T; readonly atMs: number }

/** Who said it, when it came, and the site of each peer that is admitted. */
type Around = {
  readonly from: PeerId
  readonly nowMs: number
  readonly siteOf: (peer: PeerId) => string | undefined
}

export const newObserved = (): Observed => ({ samples: new Map(), digests: new Map() })

/** `ownSite`: samples are for peers of one site only. */
export function hearSample(
  observed: Observed,
  said: Sample,
  around: Around & { readonly ownSite: string },
): Verdict {
  if (said.site !== around.ownSite) return 'reject'
  return keepNewest(observed.samples, said.author, said, around, [said.life, said.sequence], (held) => [
    held.life,
    held.sequence,
  ])
}

export function hearDigest(observed: Observed, said: Digest, around: Around): Verdict {
  return keepNewest(
    observed.digests,
    said.site,
    said,
    around,
    [said.term, said.life, said.sequence],
    (held) => [held.term, held.life, held.sequence],
  )
}

function keepNewest<T extends Sample | Digest>(
  kept: Map<string, Seen<T>>,
  key: string,
  said: T,
  { from, nowMs, siteOf }: Around,
  order: readonly number[],
  orderOf: (held: T) => readonly number[],
): Verdict {
  if (said.author !== from) return 'reject'
  const site = siteOf(from)
  if (site === undefined) return 'ignore'
  if (site !== said.site) return 'reject'
  const held = kept.get(key)
  if (held !== undefined) {
    const newer = compare(order, orderOf(held.value))
    // After a long silence the author may count anew: its clock or its group began again.
    if (newer === 0 || (newer < 0 && nowMs - held.atMs < SILENCE_MS)) return 'ignore'
  }
  kept.set(key, { value: said, atMs: nowMs })
  return 'accept'
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [index, each] of a.entries()) {
    const difference = each - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** Forgets whoever is no longer admitted, and sites that are gone. */
export function keep(observed: Observed, peers: ReadonlySet<PeerId>, sites: ReadonlySet<string>): void {
  for (const peer of observed.samples.keys()) if (!peers.has(peer)) observed.samples.delete(peer)
  for (const site of observed.digests.keys()) if (!sites.has(site)) observed.digests.delete(site)
}

export function sampleOf(
  { samples }: Observed,
  peer: PeerId,
  nowMs: number,
): { sample: Sample; ageMs: number } | undefined {
  const seen = samples.get(peer)
  return seen && { sample: seen.value, ageMs: nowMs - seen.atMs }
}

export function digestOf(
  { digests }: Observed,
  site: string,
  nowMs: number,
): { digest: Digest; ageMs: number } | undefined {
  const seen = digests.get(site)
  return seen && { digest: seen.value, ageMs: nowMs - seen.atMs }
}
