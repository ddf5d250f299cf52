/**
 * What clients asked and what they were told, when: Jepsen's shape, so that any linearizability checker can judge it. An
 * operation without an answer stays open for ever (`info`), and its process asks nothing more.
 */
export type Operation =
  | { readonly kind: 'get'; readonly key: string }
  | { readonly kind: 'put'; readonly key: string; readonly value: number }
  | { readonly kind: 'cas'; readonly key: string; readonly from: number; readonly to: number }

export type HistoryEvent = {
  readonly process: number
  readonly type: 'invoke' | 'ok' | 'fail' | 'info'
  readonly f: Operation['kind']
  /** The group and the key in it. */
  readonly key: string
  /** put: what was written; get, once answered: what was read; cas: `[from, to]`. */
  readonly value: number | readonly [number, number] | null
  /** Of an answered cas: what was there before it. */
  readonly found?: number
  readonly timeUs: number
}

/** One operation, whole: what a linearizability checker takes. */
export type Done = {
  readonly operation: Operation
  readonly calledUs: number
  /** Infinity: its client never heard of it, it may have happened at any time since, or not at all. */
  returnedUs: number
  /** What was there before it; undefined while nobody knows. */
  found: number | undefined
}

export class History {
  readonly events: HistoryEvent[] = []
  /** By key; operations that certainly did not happen are not in it. */
  readonly byKey = new Map<string, Done[]>()
  #nextProcess = 0

  newProcess(): number {
    return this.#nextProcess++
  }

  invoke(
    process: number,
    group: string,
    operation: Operation,
    timeUs: number,
  ): (type: 'ok' | 'fail' | 'info', found: number | undefined, atUs: number) => void {
    const key = `${group}/${operation.key}`
    const f = operation.kind
    const asked =
      operation.kind === 'put'
        ? operation.value
        : operation.kind === 'cas'
          ? ([operation.from, operation.to] as const)
          : null
    this.events.push({ process, type: 'invoke', f, key, value: asked, timeUs })
    const done: Done = { operation, calledUs: timeUs, returnedUs: Infinity, found: undefined }
    const list = this.byKey.get(key) ?? []
    this.byKey.set(key, list)
    list.push(done)
    return (type, found, atUs) => {
      const value = f === 'get' && type === 'ok' ? (found ?? 0) : asked
      const isCas = f === 'cas' && type === 'ok' && found !== undefined
      this.events.push({ process, type, f, key, value, ...(isCas && { found }), timeUs: atUs })
      if (type === 'ok') Object.assign(done, { returnedUs: atUs, found })
      if (type === 'fail') list.splice(list.lastIndexOf(done), 1)
    }
  }

  /** JSON lines; times in ns, as Porcupine's and Jepsen's are. */
  *lines(): Generator<string> {
    for (const { timeUs, ...event } of this.events) yield JSON.stringify({ ...event, time: timeUs * 1_000 })
  }
}
