/** What one simulated swarm is: plain data, and the time that it would take at best. */
import { fluidBound } from './fluid-bound.ts'

export type Setting = {
  readonly peers: number
  readonly chunks: number
  readonly chunkBytes: number
  readonly source: { readonly upMbit: number }
  readonly upMbit: number
  readonly downMbit: number
  /** One way between any two. */
  readonly delayMs: number
  /** Others that a peer downloads from, beside the source. */
  readonly degree: number
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
  degree: 16,
}

export function boundOf({ peers, chunks, chunkBytes, source, upMbit, downMbit }: Setting): number {
  const bytes = chunks * chunkBytes
  return fluidBound({
    source,
    sourceOnlyBytes: bytes,
    receivers: Array.from({ length: peers }, () => ({ upMbit, downMbit, lacksBytes: bytes })),
  })
}
