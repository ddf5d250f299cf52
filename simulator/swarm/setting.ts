/** What one simulated swarm is: plain data, and the time that it would take at best. */
import { fluidBound, MBIT } from './fluid-bound.ts'

export type Setting = {
  readonly peers: number
  readonly chunks: number
  readonly chunkBytes: number
  readonly source: { readonly upMbit: number }
  readonly upMbit: number
  readonly downMbit: number
  /** One way between any two. */
  readonly delayMs: number
  /** What any message waits besides, in the queues of links that are full. */
  readonly queueMs: number
  /** Of a chunk on its way up a line, on which chunks for several take turns by parts; 1: by chunks. */
  readonly parts: number
  /** Others that a peer downloads from, beside the source. */
  readonly degree: number
  /** Peers are of these kinds in turns; what a kind does not say is said above. */
  readonly kinds: readonly Partial<Kind>[]
}

export type Kind = {
  readonly upMbit: number
  readonly downMbit: number
  readonly joinMs: number
  /** When it hangs up, or freezes: is silent from then on, and nobody is told. */
  readonly leaveMs: number
  readonly freezeMs: number
}

/** 128 MiB, which is 42 chunks and more for each doubling of the peers: pipeline and tail are a few per cent of it. */
export const SETTING: Setting = {
  peers: 1_000,
  chunks: 512,
  chunkBytes: 256 * 1024,
  source: { upMbit: 50 },
  upMbit: 50,
  downMbit: 50,
  delayMs: 20,
  queueMs: 0,
  parts: 1,
  degree: 16,
  kinds: [],
}

/** Flows that share lines, and queues half full: what 8 to 16 peers see of a network. */
export const SHARED = { parts: 16, queueMs: 50 } as const

export function kindOf({ upMbit, downMbit, kinds }: Setting, at: number): Kind {
  const own = kinds.length === 0 ? {} : kinds[at % kinds.length]
  return { upMbit, downMbit, joinMs: 0, leaveMs: Infinity, freezeMs: Infinity, ...own }
}

/** Those who stay, as if whoever does not had never been there. */
export function boundOf(setting: Setting): number {
  const { peers, chunks, chunkBytes, source } = setting
  const bytes = chunks * chunkBytes
  const kinds = Array.from({ length: peers }, (_, at) => kindOf(setting, at)).filter(stays)
  const receivers = kinds.map(({ upMbit, downMbit }) => ({ upMbit, downMbit, lacksBytes: bytes }))
  return Math.max(
    fluidBound({ source, sourceOnlyBytes: bytes, receivers }),
    ...kinds.map(({ joinMs, downMbit }) => joinMs + bytes / (downMbit * MBIT)),
  )
}

export const stays = ({ leaveMs, freezeMs }: Kind): boolean => Math.min(leaveMs, freezeMs) === Infinity
