/** Has the feature level of one group raised while this peer leads it (protocols/features.ts; raising.ts there decides). */
import { FEATURE_LEVEL } from '../protocols/features.ts'
import { levelToRaise } from '../protocols/raft/raising.ts'
import type { Group } from './group.ts'

type Raised = Pick<Group<unknown, never>, 'role' | 'level' | 'status' | 'submit'>

export class Raising {
  readonly #group: Raised
  readonly #known: number
  #asked = false

  /** `known`: what this version knows; others for simulations. */
  constructor(group: Raised, known: number = FEATURE_LEVEL) {
    this.#group = group
    this.#known = known
  }

  /** A few times a second, or whenever a member may have said something new. */
  look(): void {
    const { role, level: agreed } = this.#group
    if (role !== 'leader' || agreed >= this.#known || this.#asked) return
    const level = levelToRaise(this.#group.status(), agreed)
    if (level === undefined) return
    this.#asked = true
    // Whatever comes of it, the next look sees.
    this.#group.submit({ kind: 'feature', level }, () => (this.#asked = false))
  }
}
