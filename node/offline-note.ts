/** A note in the journal of a peer that does not run: in a journal of its own boot, as every life of this peer has. */
import { join } from 'node:path'
import { newPrivateKey, seedOf } from '../protocols/libp2p/identity.ts'
import { ok, type Outcome } from '../protocols/outcome.ts'
import { openJournal } from '../storage/hypercore/journal.ts'
import type { JournalEntry } from '../storage/journal.ts'
import type { LevelStore } from '../storage/level/store.ts'
import { nextBoot, privateKeyOf } from './data-folder.ts'

/** `store` is that of `folder`, open. */
export async function noteOffline(
  folder: string,
  store: LevelStore,
  entry: JournalEntry,
): Promise<Outcome<void>> {
  const boot = await nextBoot(store)
  if (!boot.ok) return boot
  const seed = seedOf(privateKeyOf(folder, newPrivateKey))
  const journal = openJournal({ folder: join(folder, 'journal'), seed, boot: boot.value })
  journal.append(entry)
  await journal.close()
  return ok(undefined)
}
