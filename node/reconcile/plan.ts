/**
 * Wanted - actual = operation: what one host must do next for one VM. Pure, so that it can be printed (`vm plan`) or
 * performed (performing.ts). One operation at a time; what it brings about is the next call's `actual`.
 *
 * Invariant: `start` comes out only under a grant of this host that no promise and no higher epoch has ended.
 */
import { compareEpochs, type Epoch, printEpoch } from '../../protocols/epoch.ts'

/** All that this host knows about its right to run one VM, and what is wanted of it. */
export type Wanted = {
  readonly wanted: 'running' | 'stopped'
  /** The synced grant of this host; undefined when it has none. */
  readonly grant: Epoch | undefined
  /** The epoch this host promised never to run again under. */
  readonly promised: Epoch | undefined
  /** The highest epoch that any agreed record names, and whether it names this host. */
  readonly agreed: { readonly epoch: Epoch; readonly here: boolean } | undefined
  readonly deleting: boolean
  /** A move has the guest in its hands, between its stop and the promise. */
  readonly moving: boolean
  /** The next stop need not be gentle. */
  readonly kill: boolean
  /** First unmet reason to wait with a start: a VM it depends on, autostart off, a back-off. */
  readonly wait: string | undefined
}

export type Actual = {
  readonly machine: { readonly state: 'running' | 'paused' | 'stopped'; readonly epoch: Epoch } | undefined
  readonly disks: boolean
  /** Every chunk of the images that its disks start from is here. */
  readonly images: boolean
}

export type Operation = {
  readonly kind: 'kill' | 'power-off' | 'fetch' | 'prepare' | 'start' | 'remove' | 'set-aside' | 'none'
  /** Why, in words for people. */
  readonly why: string
}

type Rule = {
  readonly when: (wanted: Wanted, actual: Actual) => boolean
  readonly does: Operation['kind']
  readonly why: (wanted: Wanted, actual: Actual) => string
}

const alive = ({ machine }: Actual): boolean => machine !== undefined && machine.state !== 'stopped'
const wentElsewhere = ({ grant, agreed }: Wanted): boolean =>
  grant !== undefined && agreed !== undefined && !agreed.here && compareEpochs(agreed.epoch, grant) > 0
const rightTo = (wanted: Wanted): string | undefined => {
  const { grant, promised, agreed } = wanted
  if (grant === undefined) return 'this host holds no grant'
  if (agreed !== undefined && compareEpochs(agreed.epoch, grant) > 0) {
    return agreed.here
      ? `a newer grant ${printEpoch(agreed.epoch)} is on its way`
      : `it is placed elsewhere under ${printEpoch(agreed.epoch)}`
  }
  if (promised !== undefined && compareEpochs(promised, grant) >= 0)
    return `promised never to run it under ${printEpoch(promised)} again`
  return undefined
}

/** Read from the top; the first row that applies is what is done. */
const RULES: readonly Rule[] = [
  {
    when: (w, a) => alive(a) && rightTo(w) !== undefined,
    does: 'kill',
    why: (w) => rightTo(w) ?? '',
  },
  {
    when: (w, a) =>
      alive(a) &&
      w.grant !== undefined &&
      compareEpochs(a.machine?.epoch ?? w.grant, w.grant) !== 0 &&
      !w.moving,
    does: 'kill',
    why: () => 'it runs under an older grant',
  },
  { when: (w, a) => w.deleting && alive(a), does: 'kill', why: () => 'it is being deleted' },
  { when: (w) => w.deleting, does: 'remove', why: () => 'it is being deleted' },
  { when: (w) => w.moving, does: 'none', why: () => 'a move has it in hand' },
  // Only an agreed record ends a grant. A promise alone does not: its move may yet be cancelled, and then the guest goes
  // on from these disks.
  { when: (w) => wentElsewhere(w), does: 'set-aside', why: (w) => rightTo(w) ?? '' },
  { when: (w) => rightTo(w) !== undefined, does: 'none', why: (w) => rightTo(w) ?? '' },
  {
    when: (w, a) => w.wanted === 'stopped' && alive(a) && w.kill,
    does: 'kill',
    why: () => 'it is to stop at once',
  },
  {
    when: (w, a) => w.wanted === 'stopped' && alive(a),
    does: 'power-off',
    why: () => 'it is wanted stopped',
  },
  { when: (w) => w.wanted === 'stopped', does: 'none', why: () => '' },
  { when: (_, a) => alive(a), does: 'none', why: () => '' },
  { when: (w) => w.wait !== undefined, does: 'none', why: (w) => w.wait ?? '' },
  { when: (_, a) => !a.disks && !a.images, does: 'fetch', why: () => 'chunks of its image are missing here' },
  { when: (_, a) => !a.disks, does: 'prepare', why: () => 'its disks are not here yet' },
  { when: () => true, does: 'start', why: () => 'it is wanted running' },
]

/** What to do next; kind `none` with a `why` when something holds it, and without when all is as wanted. */
export function plan(wanted: Wanted, actual: Actual): Operation {
  const rule = RULES.find(({ when }) => when(wanted, actual)) as Rule
  return { kind: rule.does, why: rule.why(wanted, actual) }
}
