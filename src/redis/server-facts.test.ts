import { describe, expect, it } from 'vitest'
import { replicasIn } from './server-facts.js'

describe('the replicas that follow', () => {
  const infoOf = (...lines: string[]): string =>
    ['role:master', `connected_slaves:${lines.length}`, ...lines, ''].join('\r\n')

  it('are those that are online and have answered lately', () => {
    expect(replicasIn(infoOf())).toBe(0)
    expect(
      replicasIn(
        infoOf(
          'slave0:ip=10.0.0.1,port=6379,state=online,offset=100,lag=0',
          'slave1:ip=10.0.0.2,port=6379,state=online,offset=90,lag=11',
          'slave2:ip=10.0.0.3,port=6379,state=send_bulk,offset=0,lag=0',
          'slave3:ip=10.0.0.4,port=6379,state=online,offset=100,lag=10'
        )
      )
    ).toBe(2)
  })

  it('are one when the only one is still being filled, or has been silent: it is waited for', () => {
    expect(replicasIn(infoOf('slave0:ip=10.0.0.1,port=6379,state=wait_bgsave,offset=0,lag=0'))).toBe(1)
    expect(replicasIn(infoOf('slave0:ip=10.0.0.1,port=6379,state=online,offset=9,lag=60'))).toBe(1)
  })

  it('are as many as the server says, where it does not list them, and not known where it says nothing', () => {
    expect(replicasIn('connected_slaves:3\r\nrole:master\r\n')).toBe(3)
    expect(replicasIn('redis_version:7.0.15\r\n')).toBeUndefined()
  })
})
