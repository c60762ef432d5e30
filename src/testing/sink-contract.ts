import assert from 'node:assert/strict'
import type { CacheId, Claim, Mark, Sink, SinkBatch, SinkOperation } from '../index.js'

/** A sink to be tested, and a look at what it wrote. */
export interface SinkUnderTest<Id extends CacheId, Value> {
  readonly sink: Sink<Id, Value>
  /** Ids and values of the test's; at least three ids, and for each value one that is not deeply equal. */
  readonly ids: readonly Id[]
  readonly values: readonly [Value, Value, ...Value[]]
  /** What is stored for an id now; undefined when there is nothing. Not needed of a sink that only appends. */
  readonly read?: (id: Id) => Promise<unknown>
  /** All events now, in any order. Needed of a sink that appends. */
  readonly events?: () => Promise<readonly unknown[]>
  /** A value that the sink can never take. Left out when there is none. */
  readonly poison?: Value
}

/** One promise of a sink. `run` rejects with an `AssertionError` when it is broken. */
export interface ContractCase {
  readonly name: string
  readonly run: () => Promise<void>
}

/**
 * What every sink must keep, as cases for any test runner:
 *
 * ```
 * for (const { name, run } of sinkContract(makeSink)) test(name, run)
 * ```
 *
 * @param make a sink over an empty store; called once for each case
 */
export function sinkContract<Id extends CacheId, Value>(
  make: () => Promise<SinkUnderTest<Id, Value>>
): readonly ContractCase[] {
  const withSink =
    (run: (tested: Tested<Id, Value>) => Promise<void>): (() => Promise<void>) =>
    async () =>
      run(new Tested(await make()))
  return [
    { name: 'has what it needs', run: withSink(async ({ under }) => under.sink.check()) },
    {
      name: 'gives a larger epoch each time a shard is taken, and shards of their own',
      run: withSink(epochsGrow)
    },
    { name: 'applies operations and stores their marks', run: withSink(appliesAndMarks) },
    { name: 'stores marks of a batch without operations', run: withSink(marksAlone) },
    { name: 'refuses a batch of an older epoch, and changes nothing', run: withSink(fencesTheOld) },
    { name: 'leaves nothing of a batch that fails, marks included', run: withSink(failsWhole) },
    { name: 'lets of two that race for a shard only the later one write', run: withSink(raceIsDecided) },
    { name: 'deletes, and writes again what was deleted', run: withSink(deletesAndReplaces) },
    { name: 'adds up', run: withSink(addsUp) },
    { name: 'takes a lost connection for no fault of the operation', run: withSink(connectionIsNoPoison) }
  ]
}

class Tested<Id extends CacheId, Value> {
  readonly under: SinkUnderTest<Id, Value>
  readonly shard = `contract/${Math.random().toString(36).slice(2)}/0`
  #batch = 0

  constructor(under: SinkUnderTest<Id, Value>) {
    this.under = under
  }

  takes(kind: SinkOperation['kind']): boolean {
    return this.under.sink.kinds.includes(kind)
  }

  take(shard = this.shard): Promise<Claim> {
    return this.under.sink.take(shard)
  }

  apply(
    epoch: number,
    operations: readonly SinkOperation<Id, Value>[],
    marks = this.mark()
  ): ReturnType<Sink['apply']> {
    const batch: SinkBatch<Id, Value> = { shard: this.shard, epoch, operations, marks }
    return this.under.sink.apply(batch)
  }

  mark(): ReadonlyMap<string, Mark> {
    return new Map([['producer', { batch: ++this.#batch, index: 3, without: [0, 2] }]])
  }

  /** An operation that shows, of whichever kind the sink takes. */
  visible(value: Value): SinkOperation<Id, Value> {
    if (this.takes('append')) return { kind: 'append', tenant: undefined, value }
    const id = this.under.ids[0]!
    if (this.takes('put')) return { kind: 'put', id, tenant: undefined, value, replaces: false }
    return { kind: 'increment', id, tenant: undefined, by: 1 }
  }

  async shown(): Promise<unknown> {
    return this.takes('append') ? (await this.under.events!()).length : this.under.read!(this.under.ids[0]!)
  }
}

type AnyTested = Tested<CacheId, unknown>

async function epochsGrow<Id extends CacheId, Value>(tested: Tested<Id, Value>): Promise<void> {
  const first = await tested.take()
  const second = await tested.take()
  assert.ok(second.epoch > first.epoch, `${second.epoch} is not more than ${first.epoch}`)
  const other = await tested.take(`${tested.shard}-other`)
  assert.equal(await tested.apply(second.epoch, []), 'applied')
  assert.equal(other.marks.size, 0)
}

async function appliesAndMarks<Id extends CacheId, Value>(tested: Tested<Id, Value>): Promise<void> {
  const { epoch, marks } = await tested.take()
  assert.equal(marks.size, 0)
  const before = await tested.shown()
  const reached = tested.mark()
  assert.equal(await tested.apply(epoch, [tested.visible(tested.under.values[0])], reached), 'applied')
  assert.notDeepEqual(await tested.shown(), before)
  assert.deepEqual([...(await tested.take()).marks], [...reached])
}

async function marksAlone<Id extends CacheId, Value>(tested: Tested<Id, Value>): Promise<void> {
  const { epoch } = await tested.take()
  await tested.apply(
    epoch,
    [],
    new Map([
      ['a', { batch: 1, index: 1, without: [0] }],
      ['b', { batch: 7, index: 2, without: [] }]
    ])
  )
  await tested.apply(epoch, [], new Map([['a', { batch: 2, index: 5, without: [1, 3] }]]))
  await tested.apply(epoch, [], new Map([['b', { batch: 7, index: 4, without: [3] }]]))
  await tested.apply(epoch, [], new Map([['b', { batch: 8, index: 0, without: [] }]]))
  const { marks } = await tested.take()
  assert.deepEqual(marks.get('a'), { batch: 2, index: 5, without: [1, 3] })
  assert.deepEqual(marks.get('b'), { batch: 8, index: 0, without: [] })
}

async function fencesTheOld<Id extends CacheId, Value>(tested: Tested<Id, Value>): Promise<void> {
  const old = await tested.take()
  const { epoch } = await tested.take()
  const before = await tested.shown()
  assert.equal(await tested.apply(old.epoch, [tested.visible(tested.under.values[0])]), 'fenced')
  assert.deepEqual(await tested.shown(), before)
  assert.equal((await tested.take()).marks.size, 0)
  assert.equal(await tested.apply(epoch, []), 'fenced')
}

async function failsWhole<Id extends CacheId, Value>(tested: Tested<Id, Value>): Promise<void> {
  const { poison, values, ids } = tested.under
  if (poison === undefined) return
  const { epoch } = await tested.take()
  const before = await tested.shown()
  const bad: SinkOperation<Id, Value> = tested.takes('append')
    ? { kind: 'append', tenant: undefined, value: poison }
    : { kind: 'put', id: ids[1]!, tenant: undefined, value: poison, replaces: false }
  const failure = await tested.apply(epoch, [tested.visible(values[0]), bad]).then(
    () => undefined,
    (error: unknown) => error
  )
  assert.ok(failure !== undefined, 'the poison was taken')
  assert.equal(tested.under.sink.isPoison(failure), true)
  assert.deepEqual(await tested.shown(), before)
  assert.equal((await tested.take()).marks.size, 0)
}

async function raceIsDecided<Id extends CacheId, Value>(tested: Tested<Id, Value>): Promise<void> {
  const { epoch } = await tested.take()
  const [applied, claim] = await Promise.all([
    tested.apply(
      epoch,
      [tested.visible(tested.under.values[0])],
      new Map([['producer', { batch: 1, index: 0, without: [] }]])
    ),
    tested.take()
  ])
  // Either the batch was first, and then the claim knows of it; or it is fenced.
  assert.equal(claim.marks.has('producer'), applied === 'applied')
}

async function deletesAndReplaces<Id extends CacheId, Value>(tested: Tested<Id, Value>): Promise<void> {
  if (!tested.takes('put') || !tested.takes('delete')) return
  const { ids, values, read } = tested.under
  const id = ids[0]!
  const other = ids[2]!
  const { epoch } = await tested.take()
  const put = (value: Value, replaces = false): SinkOperation<Id, Value> => {
    return { kind: 'put', id, tenant: undefined, value, replaces }
  }
  await tested.apply(epoch, [put(values[0]), { kind: 'delete', id: other, tenant: undefined }])
  assert.deepEqual(await read!(id), values[0])
  await tested.apply(epoch, [put(values[1], true)])
  assert.deepEqual(await read!(id), values[1])
  await tested.apply(epoch, [{ kind: 'delete', id, tenant: undefined }])
  assert.equal(await read!(id), undefined)
}

async function addsUp<Id extends CacheId, Value>(tested: Tested<Id, Value>): Promise<void> {
  if (!tested.takes('increment')) return
  const { ids, read } = tested.under
  const { epoch } = await tested.take()
  const add = (by: number): SinkOperation<Id, Value> => ({
    kind: 'increment',
    id: ids[0]!,
    tenant: undefined,
    by
  })
  await tested.apply(epoch, [add(5)])
  await tested.apply(epoch, [add(-2)])
  assert.equal(Number(await read!(ids[0]!)), 3)
}

async function connectionIsNoPoison(tested: {
  readonly under: { readonly sink: AnyTested['under']['sink'] }
}): Promise<void> {
  const { sink } = tested.under
  assert.equal(sink.isPoison(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })), false)
  assert.equal(sink.isPoison(undefined), false)
}
