import { expect, it } from 'vitest'
import { runLab } from '../chaos/lab.js'

/** Longer, with other seeds and on other topologies: npm run chaos -- --minutes 60 --seed 7 --topology cluster */
const MINUTES = 0.65

it('under half a minute of faults in four processes, Redis, PostgreSQL and the way between them, nothing is read that must not be', {
  timeout: 240_000
}, async () => {
  const report = await runLab({ minutes: MINUTES, seed: 1, topology: 'single', onProgress: () => undefined })
  expect(report.violations).toEqual([])
  expect(report.reads).toBeGreaterThan(1_000)
  expect(report.writes).toBeGreaterThan(300)
  expect(Object.values(report.faults).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(20)
})
