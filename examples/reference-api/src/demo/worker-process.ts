// A process of the demo that does nothing but bring recorded views to PostgreSQL.
import { createCatalogue } from '../catalogue.js'
import { serveCommands } from '../local-servers.js'
import { openDatabase } from '../store/database.js'
import { createMovieStore } from '../store/movie-store.js'
import { VIEWS_NAMESPACE } from './views-story.js'

process.on('SIGINT', () => undefined)

const { DATABASE_URL: databaseUrl = '', REDIS_URL: redisUrl = '' } = process.env
const database = openDatabase(databaseUrl, { connections: 4, applicationName: 'demo worker' })
const { views } = createCatalogue(createMovieStore(database), redisUrl, database.pool, VIEWS_NAMESPACE)

const commands = {
  start: () => views.worker().ready()
}

export type WorkerCommands = typeof commands

serveCommands(commands)
