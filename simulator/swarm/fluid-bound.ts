/**
 * T*: the least time in which a swarm can bring an image to all who lack it, with bytes as a fluid (Kumar and Ross, "Peer-assisted
 * file distribution: the minimum distribution time", HOTWEB 2006), and with what each already holds taken off.
 *
 *   T* = max( W_S / u_S,  max_i W_i / d_i,  sum W_i / (u_S + sum u_i + sum u_P) )
 *
 * W_S: what only the source holds; W_i: what receiver i lacks; u, d: rates up and down; P: partial holders that lack nothing.
 */
type Rate = { readonly upMbit: number }

export type Fluid = {
  readonly source: Rate
  /** Bytes that nobody but the source holds. */
  readonly sourceOnlyBytes: number
  readonly receivers: readonly (Rate & { readonly downMbit: number; readonly lacksBytes: number })[]
  /** Hold something, and receive nothing. */
  readonly helpers?: readonly Rate[]
}

/** 1 Mbit/s in bytes a ms. */
export const MBIT = 125

/** In ms. */
export function fluidBound({ source, sourceOnlyBytes, receivers, helpers = [] }: Fluid): number {
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0)
  const upMbit = source.upMbit + sum([...receivers, ...helpers].map((each) => each.upMbit))
  return Math.max(
    sourceOnlyBytes / (source.upMbit * MBIT),
    ...receivers.map(({ lacksBytes, downMbit }) => lacksBytes / (downMbit * MBIT)),
    sum(receivers.map(({ lacksBytes }) => lacksBytes)) / (upMbit * MBIT),
  )
}
