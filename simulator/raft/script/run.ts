/** A script of any of etcd's three suites: which of them a command belongs to is told by its name. */
import { CONFCHANGE_COMMANDS, newConfchangeSuite, performConfchange } from './confchange-suite.ts'
import { performInteraction } from './commands.ts'
import { type Command, type Run, runScript } from './data-driven.ts'
import { newEnvironment } from './environment.ts'
import { ScriptError } from './members.ts'
import { performQuorum, QUORUM_COMMANDS } from './quorum-suite.ts'

/** Runs a script from its first line. @throws Error when it cannot be read. */
export function runRaftScript(text: string): Run {
  const confchange = newConfchangeSuite()
  const environment = newEnvironment()
  const perform = (command: Command): string => {
    if (QUORUM_COMMANDS.includes(command.name)) return performQuorum(command)
    if (CONFCHANGE_COMMANDS.includes(command.name)) return performConfchange(confchange, command)
    return performInteraction(environment, command)
  }
  return runScript(text, (command) => orSaid(() => perform(command)))
}

/** A command that cannot be read says so in its own place, and the script goes on. */
function orSaid(perform: () => string): string {
  try {
    return perform()
  } catch (error) {
    if (error instanceof ScriptError) return error.message
    throw error
  }
}
