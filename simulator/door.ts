/** The door on virtual time: a stranger knocks at an address, and is heard while the door is open. */
import type { PeerId } from '../protocols/ids.ts'
import type { JoinHello, JoinWelcome } from '../protocols/join/messages.ts'
import { type Done, failed, ok } from '../protocols/outcome.ts'
import type { Door } from '../node/door.ts'
import type { Life } from './life.ts'
import type { Port } from './links.ts'
import type { SimNetwork } from './network.ts'

type Handler = (from: PeerId, hello: JoinHello, reply: Done<JoinWelcome>) => void

/** A hello or a welcome with its catalog, about. */
const LETTER_BYTES = 2_000

export class SimDoor implements Door {
  readonly #network: SimNetwork
  readonly #port: Port
  readonly #life: Life
  #handler: Handler | undefined

  constructor(network: SimNetwork, port: Port, life: Life) {
    this.#network = network
    this.#port = port
    this.#life = life
  }

  open(handler: Handler, done: Done<void>): void {
    this.#handler ??= handler
    this.#life.clock.after(0, () => done(ok(undefined)))
  }

  close(): void {
    this.#handler = undefined
  }

  addresses(): string[] {
    const { site, index, peer } = this.#port
    return [`/ip4/10.${site.index & 255}.${index >> 8}.${index & 255}/tcp/4711/p2p/${peer}`]
  }

  /** What a stranger does: knocks at the door of `to`; nobody hears it where none is open. */
  knock(to: PeerId, hello: JoinHello, timeoutMs: number, done: Done<JoinWelcome>): void {
    const { clock } = this.#life
    let over = false
    const end: Done<JoinWelcome> = (outcome) => {
      if (over) return
      over = true
      timer.cancel()
      done(outcome)
    }
    const unreachable = (): void => end(failed({ code: 'PEER_UNREACHABLE', peer: to, afterMs: timeoutMs }))
    const timer = clock.after(timeoutMs, unreachable)
    const open = (there: { door: SimDoor }): boolean => there.door.#handler !== undefined
    this.#network.dial({ port: this.#port, life: this.#life }, to, open, (connection, there) => {
      if (connection === undefined || there === undefined) return unreachable()
      connection.carry(connection.dialler, LETTER_BYTES, false, () =>
        there.door.#handler?.(this.#port.peer, hello, (outcome) =>
          connection.carry(connection.listener, LETTER_BYTES, false, () => {
            connection.close()
            end(outcome)
          }),
        ),
      )
    })
  }
}
