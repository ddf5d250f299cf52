/** Asks before what cannot be undone: on a terminal by a question, elsewhere by demanding that `--yes` was typed. */
import { usage } from './failures.ts'
import { clean } from './human.ts'
import type { Session } from './session.ts'

export const YES = { flags: '-y, --yes', summary: 'do not ask; needed where nobody can be asked' } as const
export const DRY_RUN = { flags: '--dry-run', summary: 'say what would be done, and do nothing' } as const

/** False when somebody was asked and said no. @throws GodwitError USAGE where nobody can be asked. */
export async function confirmed(session: Session, command: string, question: string): Promise<boolean> {
  if (session.has('yes')) return true
  if (!session.io.stdinTty || !session.io.stderrTty) {
    return usage(`${command} needs --yes where nobody can be asked`, `godwit ${command} --yes`)
  }
  session.io.err(`${clean(question)} [y/N] `)
  if (/^y(es)?$/i.test((await session.io.readLine()).trim())) return true
  session.note('nothing is done')
  return false
}
