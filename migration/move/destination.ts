/**
 * The destination's half of a cold move m (see source.ts for the invariant).
 *
 *   (heard of m) ─seed─▶ seeding ─fetched─▶ seeded ─offer─▶ fetching ─▶ preparing ─▶ taking ─committed take─▶ taken
 *                           └───────────── cancel of m, refusal ─────────────────────┴─▶ dropped
 *
 * It keeps nothing across a restart: the source says again what it waits for, chunks that were verified are here, and the
 * take is in the log. `taken` is reached by the log alone; this machine only asks for it.
 */
import type { Failure } from '../../protocols/errors.ts'
import { describeFailure } from '../../protocols/errors.ts'
import { addCosts, type Cost, type Message, NO_COST } from '../../protocols/move/messages.ts'
import type { DiskImage } from './source.ts'

export type Offer = Message & { kind: 'offer' }

export type Destination = {
  readonly m: string
  readonly vm: string
  phase: 'seeding' | 'seeded' | 'fetching' | 'preparing' | 'taking' | 'taken' | 'dropped'
  offer: Offer | undefined
  /** Sum over the pulls of this move that have ended. */
  spent: Cost
  /** What the pull in hand has cost; undefined when there is none. */
  current: Cost | undefined
  /** Why it was refused; empty when it was not. */
  why: string
  /** The guest was seen running (or placed, when it was not wanted running). */
  up: boolean
}

export type DestinationEvent =
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'pulling'; readonly cost: Cost }
  | { readonly kind: 'pulled'; readonly cost: Cost }
  | { readonly kind: 'prepared' }
  | { readonly kind: 'failed'; readonly failure: Failure }
  | { readonly kind: 'outcome'; readonly outcome: 'taken' | 'cancelled' }
  /** The guest runs here, or is placed here when it was not wanted running. */
  | { readonly kind: 'running' }
  | { readonly kind: 'tick' }

export type DestinationEffect =
  | { readonly kind: 'pull'; readonly images: readonly DiskImage[] }
  | { readonly kind: 'prepare'; readonly offer: Offer }
  | { readonly kind: 'take'; readonly offer: Offer }
  | { readonly kind: 'send'; readonly message: Message }
  /** Ends a pull in hand and drops what was prepared and nobody owns. */
  | { readonly kind: 'drop' }

/** A destination is born of the first message that asks something of it. */
export function startDestination(message: Message & { kind: 'seed' | 'offer' }): Destination {
  return {
    m: message.m,
    vm: message.vm,
    phase: 'seeding',
    offer: undefined,
    spent: NO_COST,
    current: undefined,
    up: false,
    why: '',
  }
}

export function stepDestination(destination: Destination, event: DestinationEvent): DestinationEffect[] {
  const { phase } = destination
  switch (event.kind) {
    case 'message':
      return hear(destination, event.message)

    case 'pulling':
      destination.current = event.cost
      return phase === 'seeding' || phase === 'fetching' ? [progress(destination)] : []

    case 'pulled':
      destination.spent = addCosts(destination.spent, event.cost)
      destination.current = undefined
      if (phase === 'seeding') {
        destination.phase = 'seeded'
        return [seeded(destination)]
      }
      if (phase !== 'fetching' || destination.offer === undefined) return []
      destination.phase = 'preparing'
      return [progress(destination), { kind: 'prepare', offer: destination.offer }]

    case 'prepared':
      if (phase !== 'preparing' || destination.offer === undefined) return []
      destination.phase = 'taking'
      return [progress(destination), { kind: 'take', offer: destination.offer }]

    case 'failed': {
      // A take that is refused is settled by the log; anything else the source has to know of.
      if (phase === 'taking' || phase === 'taken' || phase === 'dropped') return []
      destination.phase = 'dropped'
      destination.why = describeFailure(event.failure).slice(0, 300)
      return [{ kind: 'drop' }, refused(destination)]
    }

    case 'outcome':
      if (phase === 'taken' || phase === 'dropped') return []
      destination.phase = event.outcome === 'taken' ? 'taken' : 'dropped'
      return event.outcome === 'taken' ? [] : [{ kind: 'drop' }]

    case 'running':
      destination.up = true
      return phase === 'taken' ? [{ kind: 'send', message: running(destination) }] : []

    case 'tick':
      if (destination.offer === undefined) return []
      if (phase === 'preparing') return [{ kind: 'prepare', offer: destination.offer }]
      return phase === 'taking' ? [{ kind: 'take', offer: destination.offer }] : []
  }
}

function hear(destination: Destination, message: Message): DestinationEffect[] {
  // A refusal gets lost like any other frame: whoever asks again is told again.
  if (destination.phase === 'dropped' && destination.why !== '') return [refused(destination)]
  switch (message.kind) {
    case 'seed':
      if (destination.phase === 'seeding' && destination.current === undefined) {
        destination.current = NO_COST
        return [{ kind: 'pull', images: message.images }]
      }
      return destination.phase === 'seeded' ? [seeded(destination)] : []

    case 'offer':
      if (destination.phase === 'taken')
        return destination.up ? [{ kind: 'send', message: running(destination) }] : []
      // An offer to one that was never asked to seed (it restarted): the pull finds what is here.
      if (
        destination.phase !== 'seeded' &&
        !(destination.phase === 'seeding' && destination.current === undefined)
      )
        return []
      destination.offer = message
      destination.phase = 'fetching'
      return [{ kind: 'pull', images: message.images }]

    default:
      return [] // Only sources hear the rest.
  }
}

const costs = ({ spent, current }: Destination): Cost => addCosts(spent, current ?? NO_COST)

function progress(destination: Destination): DestinationEffect {
  const { m, phase } = destination
  const shown = phase === 'fetching' || phase === 'preparing' || phase === 'taking' ? phase : 'seeding'
  return { kind: 'send', message: { kind: 'progress', m, phase: shown, cost: costs(destination) } }
}

const seeded = (destination: Destination): DestinationEffect => ({
  kind: 'send',
  message: { kind: 'seeded', m: destination.m, cost: costs(destination) },
})

const refused = ({ m, why }: Destination): DestinationEffect => ({
  kind: 'send',
  message: { kind: 'refused', m, why },
})

const running = (destination: Destination): Message => ({
  kind: 'running',
  m: destination.m,
  cost: costs(destination),
})
