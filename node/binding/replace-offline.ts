/** `peer replace` on the data folder of a peer that does not run: what it would do, and doing it. */
import { failureOf, GodwitError } from '../../protocols/errors.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'
import type { Config } from '../config.ts'
import { openFolder } from '../data-folder.ts'
import { dice } from '../dice.ts'
import { noteOffline } from '../offline-note.ts'
import { openOutside } from './outside.ts'
import { type Replacement, replacement } from './replacing.ts'

export type PreparedReplacement = {
  readonly replacement: Replacement
  /** Writes it, durably, inside and outside, and notes it in the journal. */
  replace(): Promise<Outcome<void>>
  close(): Promise<void>
}

export async function prepareReplacement(
  config: Pick<Config, 'dataDir' | 'markDir'>,
): Promise<Outcome<PreparedReplacement>> {
  const opened = await openFolder(config.dataDir)
  if (!opened.ok) return opened
  const { store, identity } = opened.value
  try {
    if (identity === undefined) throw new GodwitError({ code: 'DATA_MISSING', folder: config.dataDir })
    const outside = openOutside(config, identity)
    const wallMs = Date.now()
    const { found, facts } = outside
    const made = replacement(store, identity, { outside: found, facts, wallMs }, dice)
    const replace = async (): Promise<Outcome<void>> => {
      const written = await new Promise<Outcome<void>>((done) => store.write(made.ops, true, done))
      if (!written.ok) return written
      // Without it the next start writes it; a mark that is damaged, though, has to go now.
      const marked = await new Promise<Outcome<void>>((done) => outside.write(made.binding, done))
      if (!marked.ok && found.kind === 'damaged') return marked
      const { peer, incarnation, why, vms } = made.replacement
      const text = `incarnation ${incarnation} begins; its grants to confirm: ${vms.join(', ') || 'none'}. ${why}`
      const note = { atMs: wallMs, kind: 'replace', subject: peer, text: text.slice(0, 500) }
      return noteOffline(config.dataDir, store, note)
    }
    return ok({ replacement: made.replacement, replace, close: () => store.close() })
  } catch (error) {
    await store.close()
    return failed(failureOf(error))
  }
}
