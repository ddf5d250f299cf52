/**
 * Which chunks of an image from outside are asked for now: the first that are missing and that somebody has, as many as fit the
 * window. webtorrent's own picker looks at every piece for every block; of a window it looks at few, and what comes in
 * fits into memory.
 *
 * Invariant: a chunk that was begun stays asked for until it is here, since its pieces are not kept elsewhere. One that nobody
 * has any more gives its place to another, up to twice the window.
 */
export type Looking = {
  readonly chunks: number
  readonly isHere: (chunk: number) => boolean
  /** Asked for before, and not here yet. */
  readonly asked: ReadonlySet<number>
  /** Whether somebody in sight has all of its pieces. */
  readonly isInSight: (chunk: number) => boolean
  /** Chunks in the window; at least 1. */
  readonly window: number
  /** All before it are here. */
  readonly from: number
}

/** Chunks to ask for besides those that are asked for, ascending. */
export function askNext({ chunks, isHere, asked, isInSight, window, from }: Looking): number[] {
  let coming = 0
  for (const chunk of asked) if (isInSight(chunk)) coming++
  const room = Math.min(window - coming, 2 * window - asked.size)
  const next: number[] = []
  for (let chunk = from; chunk < chunks && next.length < room; chunk++)
    if (!isHere(chunk) && !asked.has(chunk) && isInSight(chunk)) next.push(chunk)
  return next
}
