/** The judge of histories, on small ones of which the verdict is known. */
import test from 'ava'
import type { Done, Operation } from '../../../simulator/raft/history.ts'
import { linearizable, type Verdict } from '../../../simulator/raft/linearizable.ts'

/** [called, returned (0: never), operation, what it found] */
type Case = readonly [called: number, returned: number, operation: Operation, found?: number]

const get: Operation = { kind: 'get', key: 'k' }
const put = (value: number): Operation => ({ kind: 'put', key: 'k', value })
const cas = (from: number, to: number): Operation => ({ kind: 'cas', key: 'k', from, to })

const done = ([calledUs, returned, operation, found]: Case): Done => ({
  operation,
  calledUs,
  returnedUs: returned === 0 ? Infinity : returned,
  found,
})

const cases: readonly [what: string, history: readonly Case[], verdict: Verdict][] = [
  ['nothing', [], 'ok'],
  ['a read of nothing', [[1, 2, get, 0]], 'ok'],
  [
    'a read of what was written',
    [
      [1, 2, put(1), 0],
      [3, 4, get, 1],
    ],
    'ok',
  ],
  [
    'a stale read',
    [
      [1, 2, put(1), 0],
      [3, 4, get, 0],
    ],
    'violation',
  ],
  [
    'a read beside a write sees either',
    [
      [1, 5, put(1), 0],
      [2, 3, get, 0],
      [2, 4, get, 1],
    ],
    'ok',
  ],
  [
    'a value that goes away again',
    [
      [1, 9, put(1), 0],
      [2, 3, get, 1],
      [4, 5, get, 0],
    ],
    'violation',
  ],
  [
    'a write that got no answer and took effect late',
    [
      [1, 0, put(1)],
      [2, 3, get, 0],
      [4, 5, get, 1],
    ],
    'ok',
  ],
  [
    'a write that got no answer and did not',
    [
      [1, 0, put(1)],
      [2, 3, get, 0],
      [4, 5, get, 0],
    ],
    'ok',
  ],
  [
    'a write that took effect twice',
    [
      [1, 0, put(1)],
      [2, 3, get, 1],
      [4, 5, put(2), 1],
      [6, 7, get, 1],
    ],
    'violation',
  ],
  [
    'a lost write',
    [
      [1, 2, put(1), 0],
      [3, 4, put(2), 0],
    ],
    'violation',
  ],
  [
    'a cas that took effect',
    [
      [1, 2, put(1), 0],
      [3, 4, cas(1, 2), 1],
      [5, 6, get, 2],
    ],
    'ok',
  ],
  [
    'a cas that did not',
    [
      [1, 2, put(1), 0],
      [3, 4, cas(7, 2), 1],
      [5, 6, get, 1],
    ],
    'ok',
  ],
  [
    'two cas from one value',
    [
      [1, 9, cas(0, 1), 0],
      [1, 9, cas(0, 2), 0],
    ],
    'violation',
  ],
  ['a value that nobody wrote', [[1, 2, get, 5]], 'violation'],
  [
    'three writers at once, and readers who agree on an order',
    [
      [1, 9, put(1), 0],
      [1, 9, put(2), 1],
      [1, 9, put(3), 2],
      [2, 3, get, 1],
      [4, 5, get, 2],
      [6, 7, get, 3],
    ],
    'ok',
  ],
  [
    'three writers at once, and readers who do not',
    [
      [1, 9, put(1)],
      [1, 9, put(2)],
      [2, 3, get, 1],
      [4, 5, get, 2],
      [6, 7, get, 1],
    ],
    'violation',
  ],
]

for (const [what, history, verdict] of cases) {
  test(`${what}: ${verdict}`, (t) => t.is(linearizable(history.map(done)).verdict, verdict))
}
