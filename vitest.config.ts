import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    // Each worker may have its own Redis and PostgreSQL beside it.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'main',
          include: ['{src,test,examples}/**/*.test.ts', 'scripts/**/*.test.{ts,mjs}'],
          exclude: ['test/end-to-end/**', '**/node_modules/**'],
          // Patience alone, for a machine that has much else to do: what must be quick is held to that by its own test.
          testTimeout: 120_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 0 }
        }
      },
      {
        test: {
          // Whole programs under load, which need the machine for themselves: after the rest and one at a time.
          name: 'end-to-end',
          include: ['test/end-to-end/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          maxWorkers: 1,
          sequence: { groupOrder: 1 }
        }
      }
    ]
  }
})
