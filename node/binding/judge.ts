/**
 * Whether a data folder is the one that this peer last had. A folder that was restored from a backup, copied to another
 * machine or rolled back with its file system holds votes, grants and promises that were true once: its peer could vote
 * a second time in a term, or start a VM that has moved away. Pure.
 *
 * Inside the folder stands a *binding*, outside it a *mark*: which binding, how often it was made anew by `peer replace`
 * (incarnation), and a counter. The counter is raised at each start, at each stop, and soon after anything was made
 * durable; first inside, then outside, each synced:
 *
 *        inside n, mark n ──write inside──▶ inside n+1, mark n ──write the mark──▶ inside n+1, mark n+1
 *                                             (crash: goes on here)
 *
 * Invariants:
 *   - A crash leaves the mark level with the binding, or one step behind it. So one step behind is sound, and a crash
 *     never makes a mismatch. The next raise brings the mark level before it writes inside.
 *   - Batches of the store reach the disk in order, so whatever was durable before a raise is in every folder that this
 *     raise's mark lets pass. An older one is behind the mark: it is found out.
 *   - A mark that is more than a step behind was rolled back itself, and may not be believed about the folder.
 *
 * What cannot be seen: everything rolled back together, the mark with it (a snapshot of the whole machine), and what
 * was written after the last raise (limits.ts: BINDING_RAISE_MS).
 */
import type { Binding, Facts, Position } from '../../storage/records.ts'

/** What is found where the mark is kept. */
export type Outside =
  | { readonly kind: 'none' }
  | { readonly kind: 'mark'; readonly mark: Position }
  /** Something is there that is no mark. */
  | { readonly kind: 'damaged'; readonly why: string }
  /** The place cannot be looked at. */
  | { readonly kind: 'unusable'; readonly why: string }

export type Verdict =
  | { readonly kind: 'bound' }
  /** Never bound: a new folder, or one of before there were bindings. */
  | { readonly kind: 'first' }
  /** Why, for people. */
  | { readonly kind: 'mismatch'; readonly why: string }

type Rule = {
  readonly when: (inside: Binding | undefined, outside: Outside, facts: Facts) => boolean
  readonly verdict: 'bound' | 'first' | ((inside: Binding, outside: Outside, facts: Facts) => string)
}

const moved = (part: keyof Facts, what: string): Rule => ({
  when: (inside, _, facts) =>
    inside !== undefined && inside[part] !== '' && facts[part] !== '' && inside[part] !== facts[part],
  verdict: (inside, _, facts) => `it was bound to ${what} ${inside[part]}, and this is ${facts[part]}`,
})

const markOf = (outside: Outside): Position | undefined =>
  outside.kind === 'mark' ? outside.mark : undefined

/** Read from the top; the first that applies is the verdict. */
const RULES: readonly Rule[] = [
  // A place that cannot be looked at binds nothing, as if there were none: status says so.
  {
    when: (inside, outside) =>
      inside === undefined && (outside.kind === 'none' || outside.kind === 'unusable'),
    verdict: 'first',
  },
  {
    when: (inside, outside) => inside === undefined && outside.kind === 'mark',
    verdict: (_, outside) =>
      `it knows of no binding, and its mark says that it was bound ${markOf(outside)?.counter} times: it is older than that`,
  },
  {
    when: (_, outside) => outside.kind === 'damaged',
    verdict: (_, outside) =>
      `its mark outside cannot be read: ${outside.kind === 'damaged' ? outside.why : ''}`,
  },
  moved('machine', 'machine'),
  moved('product', 'the hardware with product uuid'),
  moved('fileSystem', 'file system'),
  moved('folder', 'the folder with'),
  // The first raise of a binding was interrupted, or never had a place for its mark.
  { when: (inside, outside) => isFirstStep(inside, markOf(outside)), verdict: 'bound' },
  {
    when: (_, outside) => outside.kind === 'unusable',
    verdict: (_, outside) =>
      `its mark outside cannot be read: ${outside.kind === 'unusable' ? outside.why : ''}`,
  },
  { when: (_, outside) => outside.kind === 'none', verdict: () => 'its mark outside is gone' },
  {
    when: (inside, outside) => inside?.id !== markOf(outside)?.id,
    verdict: (inside, outside) =>
      `it is of incarnation ${inside.incarnation}, and the peer was replaced since: its mark is of incarnation ${markOf(outside)?.incarnation}`,
  },
  {
    when: (inside, outside) => (inside?.counter ?? 0) < (markOf(outside)?.counter ?? 0),
    verdict: (inside, outside) =>
      `it is older than its mark: it was bound ${inside.counter} times, and its mark says ${markOf(outside)?.counter}`,
  },
  {
    when: (inside, outside) => (inside?.counter ?? 0) > (markOf(outside)?.counter ?? 0) + 1,
    verdict: (inside, outside) =>
      `its mark is older than it is: it was bound ${inside.counter} times, and its mark says ${markOf(outside)?.counter}`,
  },
  { when: () => true, verdict: 'bound' },
]

export function judge(inside: Binding | undefined, outside: Outside, facts: Facts): Verdict {
  const { verdict } = RULES.find(({ when }) => when(inside, outside, facts)) as Rule
  if (typeof verdict === 'string') return { kind: verdict }
  return { kind: 'mismatch', why: verdict(inside as Binding, outside, facts).slice(0, 400) }
}

/** Only a new incarnation is at 1, and its mark may still be an older one's, or not there. */
const isFirstStep = (inside: Binding | undefined, mark: Position | undefined): boolean =>
  inside?.counter === 1 && (mark === undefined || mark.incarnation < inside.incarnation)

/** Whether the mark has still to be brought level with the binding. */
export const isBehind = (mark: Position | undefined, { id, counter }: Position): boolean =>
  mark === undefined || mark.id !== id || mark.counter < counter

/** What a folder is bound to, as far as it can be told now: what cannot be read today stays as it was. */
export const factsOf = (known: Facts, now: Facts): Facts => ({
  machine: now.machine || known.machine,
  product: now.product || known.product,
  fileSystem: now.fileSystem || known.fileSystem,
  folder: now.folder || known.folder,
})
