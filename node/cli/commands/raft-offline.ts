/** `raft recover` and `raft snapshot restore`: on the data folder of a peer that is stopped, after it was said what is lost. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { failureOf, GodwitError } from '../../../protocols/errors.ts'
import type { Outcome } from '../../../protocols/outcome.ts'
import { confirmed } from '../confirm.ts'
import type { Session } from '../session.ts'
import type { Begun, Place, Prepared } from '../../offline.ts'

export async function recoverGroup(session: Session): Promise<number> {
  const group = session.text('group') ?? 'mesh'
  const { prepareRecovery } = await import('../../offline.ts')
  return perform(session, `raft recover --group ${group}`, (config) => prepareRecovery(config, group))
}

export async function restoreGroup(session: Session): Promise<number> {
  const typed = session.word('file')
  const path = resolve(session.io.cwd, typed)
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw new GodwitError(failureOf(error), { cause: error })
  }
  const { prepareRestore } = await import('../../offline.ts')
  return perform(session, `raft snapshot restore ${typed}`, (config) => prepareRestore(config, bytes, path))
}

async function perform(
  session: Session,
  command: string,
  prepare: (config: Place) => Promise<Outcome<Prepared>>,
): Promise<number> {
  const { readConfig } = await import('../../config.ts')
  const read = await readConfig(session.flags, session.io.env)
  if (!read.ok) throw new GodwitError(read.failure)
  const prepared = await prepare(read.value.config)
  if (!prepared.ok) throw new GodwitError(prepared.failure)
  const { begun } = prepared.value
  try {
    if (session.has('dryRun')) {
      await session.showItem('raft-generation', begun)
      explain(session, begun, 'would begin')
      return 0
    }
    explain(session, begun, 'begins')
    if (!(await confirmed(session, command, `Begin generation ${begun.generationName} of ${begun.group}?`)))
      return 1
    const done = await prepared.value.begin()
    if (!done.ok) throw new GodwitError(done.failure)
    await session.showItem('raft-generation', begun)
    session.note(
      'next: godwit up, on this peer first; the others put their logs aside as soon as they hear of it',
    )
    return 0
  } finally {
    await prepared.value.close()
  }
}

/** What is lost, before anybody is asked. */
function explain(session: Session, begun: Begun, verb: string): void {
  const { group, generationName, index, lost, peer, kept } = begun
  session.note(`Generation ${generationName} of ${group} ${verb} with ${peer} as its only voter.`)
  session.note(`Kept: everything up to entry ${index}${kept}.`)
  session.note(
    lost.length === 0
      ? 'Lost: nothing that another voter had.'
      : `Lost: what only ${lost.join(', ')} had, if they went on after that entry. They come back as new members.`,
  )
  if (lost.length > 0)
    session.note(
      'Only when most of them are gone for good: from those that still run it takes what they agree on from now on.',
    )
  const tokens = group === 'mesh' ? ' Open join tokens are revoked.' : ''
  session.note(`No grant ends by it: hosts show what they hold, and the highest epoch wins.${tokens}`)
}
