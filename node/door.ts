/** Port: the door through which a peer that is not admitted yet asks to join. Open until the last of our tokens expires, used or not, so that a second use is told why. */
import type { PeerId } from '../protocols/ids.ts'
import type { JoinHello, JoinWelcome } from '../protocols/join/messages.ts'
import type { Done } from '../protocols/outcome.ts'

export type Door = {
  /** Opens when it is not open; idempotent. */
  open(handler: (from: PeerId, hello: JoinHello, reply: Done<JoinWelcome>) => void, done: Done<void>): void
  close(): void
  /** Multiaddrs with the peer id, under which the door is or would be reached. */
  addresses(): string[]
}
