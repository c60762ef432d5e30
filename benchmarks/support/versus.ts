/** Contenders take turns in every round, so that a disturbance of the machine hits all of them alike. */
export async function inTurns<T>(
  rounds: number,
  names: readonly string[],
  measure: (name: string, round: number) => Promise<T>
): Promise<Map<string, T[]>> {
  const figures = new Map<string, T[]>(names.map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      // Another one first each time, and every other round backwards: nobody always follows the same neighbour.
      const at = round % 2 === 0 ? round + turn : round - turn
      const name = names[((at % names.length) + names.length) % names.length]!
      figures.get(name)!.push(await measure(name, round))
    }
  }
  return figures
}

export function note(text: string): void {
  process.stderr.write(`${text}\n`)
}
