/** `stabilize`: Readies, deliveries and threads, round after round, until nothing happens any more. */
import { idsOf, valueOf } from './arguments.ts'
import type { Command } from './data-driven.ts'
import { type Environment, indented, nodeAt, print, setLevel } from './environment.ts'
import { deliver } from './mail.ts'
import { ScriptError } from './members.ts'
import type { ScriptNode } from './node.ts'
import { processReady } from './ready.ts'
import { hasReady } from './taking.ts'
import { processAppend, processApply } from './threads.ts'

/** More rounds than any script needs: two nodes that never end saying the same to each other are a fault. */
const ROUNDS_MAX = 1_000

export function stabilize(environment: Environment, command: Command): void {
  const ids = idsOf(command)
  const nodes = ids.length === 0 ? environment.nodes : ids.map((each) => nodeAt(environment, each))
  const before = environment.level
  const level = valueOf(command, 'log-level')
  if (level !== undefined) setLevel(environment, level)
  for (let round = 0; settle(environment, nodes); round++) {
    if (round === ROUNDS_MAX) throw new ScriptError(`still busy after ${ROUNDS_MAX} rounds`)
  }
  environment.level = before
}

type Step = {
  readonly title: string
  readonly isDue: (environment: Environment, node: ScriptNode) => boolean
  /** As often as it is due, or once. */
  readonly isRepeated: boolean
  readonly perform: (environment: Environment, node: ScriptNode) => void
}

/** Each for all nodes, before the next. */
const STEPS: readonly Step[] = [
  {
    title: 'handling Ready',
    isDue: (_, node) => hasReady(node),
    isRepeated: false,
    perform: processReady,
  },
  {
    title: 'receiving messages',
    isDue: ({ mail }, { id }) => mail.some(({ to }) => to === id),
    isRepeated: false,
    perform: (environment, { id }) => deliver(environment, id, undefined, false),
  },
  {
    title: 'processing append thread',
    isDue: (_, { appendWork }) => appendWork.length > 0,
    isRepeated: true,
    perform: processAppend,
  },
  {
    title: 'processing apply thread',
    isDue: (_, { applyWork }) => applyWork.length > 0,
    isRepeated: true,
    perform: processApply,
  },
]

/** @returns Whether anything was done. */
function settle(environment: Environment, nodes: readonly ScriptNode[]): boolean {
  let isBusy = false
  for (const step of STEPS) {
    for (const node of nodes.filter((each) => step.isDue(environment, each))) {
      isBusy = true
      print(environment, `> ${node.id} ${step.title}\n`)
      carryOut(environment, node, step)
    }
  }
  return isBusy
}

function carryOut(environment: Environment, node: ScriptNode, step: Step): void {
  indented(environment, () => step.perform(environment, node))
  while (step.isRepeated && step.isDue(environment, node)) {
    indented(environment, () => step.perform(environment, node))
  }
}
