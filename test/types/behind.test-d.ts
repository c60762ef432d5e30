/** Compiled by `npm run check:types`; nothing here runs. */
import pg from 'pg'
import { createCache, postgresSink, writeBehind, type Sink } from '../../src/index.js'

const cache = createCache({ redis: 'redis://127.0.0.1', namespace: 'types' })
const pool = new pg.Pool()

const views = cache.collection('views', {
  ttl: '1d',
  load: async (id: number): Promise<number | undefined> => id,
  write: writeBehind({
    sink: postgresSink(pool, { table: 'views', key: 'id', value: 'n' }),
    flushEvery: '2s'
  })
})
void views.put(42, 10)
void views.increment(42)
void (views.increment(42, 5) satisfies Promise<number>)
// @ts-expect-error the value is a number
void views.put(42, 'ten')
// @ts-expect-error ids are numbers
void views.increment('42')

const notes = cache.collection('notes', {
  ttl: '1d',
  load: async (_id: string): Promise<{ body: string } | undefined> => undefined,
  write: writeBehind({
    sink: postgresSink<string, { body: string }>(pool, {
      table: 'notes',
      key: 'id',
      columns: { body: ({ body }) => body.trim(), length: ({ body }, id) => body.length + id.length }
    })
  })
})
// @ts-expect-error there is nothing to add to an object
void notes.increment('a', 1)

declare const ofNotes: Sink<string, { body: string }>
cache.collection('others', {
  ttl: '1d',
  load: async (_id: string): Promise<{ body: string } | undefined> => undefined,
  write: writeBehind({ sink: ofNotes })
})

const events = cache.ingest<{ path: string }>('events', {
  sink: postgresSink(pool, { table: 'events', columns: { path: ({ path }) => path } })
})
void events.append({ path: '/' })
// @ts-expect-error a path is missing
void events.append({})
// @ts-expect-error no such option
writeBehind({ sink: ofNotes, flushevery: '1s' })

const strict = createCache({ redis: 'redis://127.0.0.1', namespace: 'types', tenancy: 'required' })
const ofTenants = strict.ingest<string>('events', {
  sink: postgresSink(pool, { table: 'events', value: 'id', tenant: 't' })
})
void ofTenants.tenant('acme').append('a')
// @ts-expect-error a tenant has to be named
void ofTenants.append('a')
