import { expect, it } from 'vitest'
import { runLab } from '../chaos/lab.js'

/** Longer, with other seeds and on other topologies: npm run chaos -- --minutes 60 --seed 7 --topology cluster */
const MINUTES = 1

it('under a minute of faults in eight processes, two Redis, PostgreSQL and the ways between them, nothing is read that must not be and nothing accepted is lost', {
  timeout: 600_000
}, async () => {
  const report = await runLab({ minutes: MINUTES, seed: 1, topology: 'single', onProgress: () => undefined })
  expect(report.violations).toEqual([])
  expect(report.reads).toBeGreaterThan(200)
  expect(report.fromMemory).toBeGreaterThan(20)
  expect(report.writes).toBeGreaterThan(50)
  expect(report.behind.accepted).toBeGreaterThan(100)
  expect(report.behind.reads).toBeGreaterThan(50)
  expect(Object.values(report.faults).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(10)
})
