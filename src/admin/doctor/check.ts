import type { Fact, Facts } from './facts.js'
import { command, type Finding, type Fix, type Verdict } from './finding.js'

/** One question to the facts. A pure function: whoever gathers the facts has nothing to do with what they mean. */
export interface Check {
  readonly id: string
  readonly title: string
  /** Undefined when the question does not arise: replicas of a replica, slots of what is no Cluster. */
  readonly judge: (facts: Facts) => Verdict | undefined
}

/** A check of facts that the server may refuse to tell: then that is the finding. */
export function check<Value>(
  id: string,
  title: string,
  needs: (facts: Facts) => Fact<Value>,
  judge: (value: Value, facts: Facts) => Verdict | undefined,
  allow?: string
): Check {
  return {
    id,
    title,
    judge: (facts) => {
      const fact = needs(facts)
      if (fact.known) return judge(fact.value, facts)
      return unseen(fact.because, ...(allow === undefined ? [] : allowing(fact.because, facts, allow)))
    }
  }
}

/** Two facts as one; the first that is missing says why. */
export function both<A, B>(first: Fact<A>, second: Fact<B>): Fact<readonly [A, B]> {
  if (!first.known) return first
  if (!second.known) return second
  return { known: true, value: [first.value, second.value] }
}

/** For a server that says nothing of what is asked, too: a default that it may not have is no answer. */
export function unseen(because: string, ...fix: readonly Fix[]): Verdict {
  return {
    severity: 'unknown',
    what: `could not look: ${because}`,
    why: 'What is not seen is not known to be right. A managed service shows and changes it in its own console.',
    fix
  }
}

/** What lets the user look, where that is what is missing. */
export function allowing(because: string, { account }: Facts, rights: string): Fix[] {
  if (!because.includes('NOPERM')) return []
  return [command(`ACL SETUSER ${account.known ? account.value.name : 'the-user'} ${rights}`)]
}

export function judgeAll(checks: readonly Check[], facts: Facts): Finding[] {
  return checks.flatMap(({ id, title, judge }) => {
    const verdict = judge(facts)
    return verdict === undefined ? [] : [{ id, title, ...verdict }]
  })
}
