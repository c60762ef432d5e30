import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse as parseHcl } from '@cdktf/hcl2json'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'

const root = fileURLToPath(new URL('../..', import.meta.url))
const deploy = join(root, 'deploy')
const filesIn = (folder: string, ending: RegExp): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => ending.test(file))
    .map((file) => join(folder, file))
const textOf = (path: string): string => readFileSync(path, 'utf8')
const named = (files: readonly string[]): [string, string][] =>
  files.map((file) => [relative(root, file), file])

type Plain = Record<string, unknown>
const documentsOf = (file: string): Plain[] =>
  parseAllDocuments(textOf(file), { merge: true, uniqueKeys: true }).map((document) => {
    if (document.errors.length > 0) throw document.errors[0]!
    return document.toJS() as Plain
  })

/** Every value anywhere in it, with the name that it stands under. */
function* fieldsOf(value: unknown): Generator<[string, unknown]> {
  if (typeof value !== 'object' || value === null) return
  for (const [name, field] of Object.entries(value)) {
    yield [name, field]
    yield* fieldsOf(field)
  }
}

describe('every YAML file', () => {
  for (const [name, file] of named(filesIn(deploy, /\.ya?ml$/))) {
    it(`is sound: ${name}`, () => {
      expect(documentsOf(file).length).toBeGreaterThan(0)
    })
  }
})

describe('compose.yaml', () => {
  const compose = documentsOf(join(deploy, 'compose.yaml'))[0] as {
    services: Record<
      string,
      Plain & { depends_on?: string[] | Plain; volumes?: string[]; image?: string; mem_limit?: string }
    >
    volumes: Plain
  }
  const services = Object.entries(compose.services)

  it('refers to services, volumes and files that there are', () => {
    for (const [name, { depends_on: before = [], volumes = [] }] of services) {
      for (const other of Array.isArray(before) ? before : Object.keys(before))
        expect(compose.services, name).toHaveProperty(other)
      for (const volume of volumes) {
        const source = volume.split(':')[0]!
        if (source.startsWith('.')) expect(existsSync(join(deploy, source)), source).toBe(true)
        else expect(compose.volumes, name).toHaveProperty(source)
      }
    }
  })

  it('names a version of each image, bounds each service that stays, and has no password in it', () => {
    for (const [name, { image, mem_limit: limit }] of services) {
      if (image !== 'corral-reference-api') expect(image, name).toMatch(/:[a-z0-9.-]*\d/)
      if (name !== 'redis-users') expect(limit, name).toMatch(/^\d+[mg]$/)
    }
    for (const [name, value] of fieldsOf(compose.services)) {
      if (name.endsWith('PASSWORD')) expect(value).toMatch(/^\$\{[A-Z_]+:\?set it\}$/)
    }
  })

  it('runs programs that the image has, and brings views to the database by a worker alone', () => {
    const { files } = JSON.parse(textOf(join(root, 'examples/reference-api/tsconfig.image.json'))) as {
      files: string[]
    }
    const built = files.map((file) =>
      file.replace(/^src/, 'examples/reference-api/dist').replace(/\.ts$/, '.js')
    )
    const ours = services.filter(([, { image }]) => image === 'corral-reference-api')
    const programs = new Map(
      ours.map(([name, { command }]) => [
        name,
        (command as string[] | undefined)?.find((part) => part.endsWith('.js'))
      ])
    )
    expect(programs.get('worker')).toBe('examples/reference-api/dist/worker.js')
    for (const [name, program] of programs) if (program !== undefined) expect(built, name).toContain(program)
    // The others run what the image runs by itself.
    expect(textOf(join(deploy, 'Dockerfile'))).toContain('"examples/reference-api/dist/service.js"]')
    for (const [name, { environment }] of ours) expect(environment, name).toMatchObject({ WORKER: 'off' })
  })

  it('has each process that counts scraped, the worker too, which alone knows what waits for the database', () => {
    const { scrape_configs: jobs } = documentsOf(join(deploy, 'prometheus/prometheus.yml'))[0] as {
      scrape_configs: {
        static_configs?: { targets: string[] }[]
        dns_sd_configs?: { names: string[]; type: string; port: number }[]
      }[]
    }
    const found = jobs.flatMap(({ dns_sd_configs: looks = [] }) => looks)
    const byName = found.flatMap(({ names, port }) => names.map((name) => `${name}:${port}`))
    const alone = jobs.flatMap(({ static_configs: configs = [] }) =>
      configs.flatMap(({ targets }) => targets)
    )
    const scraped = [...alone, ...byName]
    const counting = services.filter(
      ([name, { image }]) => image === 'corral-reference-api' && name !== 'load'
    )
    expect(scraped).toEqual(expect.arrayContaining(counting.map(([name]) => `${name}:3000`)))
    expect(counting.map(([name]) => name)).toContain('worker')
    // There may be several of it, behind one name.
    expect([byName, alone]).toEqual([['worker:3000'], expect.not.arrayContaining(['worker:3000'])])
    for (const { type } of found) expect(type).toBe('A')
  })

  it('has a gateway that asks for addresses again, since whoever is made anew has another', () => {
    const text = textOf(join(deploy, 'gateway/nginx.conf'))
    const servers = [...text.matchAll(/^ {2}server (\S+):3000(.*);$/gm)]
    expect(servers.map(([, name]) => name)).toEqual(['api-1', 'api-2'])
    for (const [, , options] of servers) expect(options).toContain(' resolve ')
    expect(text).toMatch(/^resolver 127\.0\.0\.11 /m)
    expect(text).toMatch(/^ {2}zone api \d+k;$/m)
    // It learnt to do so, without a licence, in 1.27.3.
    const [, minor] = /^nginx:1\.(\d+)/.exec(compose.services['gateway']!.image!)!
    expect(Number(minor)).toBeGreaterThanOrEqual(28)
  })

  it('gives Redis a third more than its maxmemory', () => {
    const maxmemory = /^maxmemory (\d+)mb$/m.exec(textOf(join(deploy, 'redis/redis.conf')))![1]
    expect(compose.services['redis']!.mem_limit).toBe('1g')
    expect(Number(maxmemory) / 1024).toBe(0.75)
  })
})

describe('the Kubernetes manifests', () => {
  const listed = documentsOf(join(deploy, 'kubernetes/kustomization.yaml'))[0] as { resources: string[] }
  const objects = listed.resources
    .filter((file) => file.endsWith('.yaml'))
    .flatMap(
      (file) =>
        documentsOf(join(deploy, 'kubernetes', file)) as {
          kind: string
          metadata: { name: string }
          spec?: Plain
        }[]
    )
  const workloads = objects.filter(({ kind }) => ['Deployment', 'StatefulSet', 'Job'].includes(kind))
  interface Pod {
    securityContext: Plain
    containers: {
      name: string
      resources?: { limits?: Plain; requests?: Plain }
      securityContext?: Plain
      command?: string[]
      volumeMounts?: { name: string; mountPath: string; readOnly?: boolean }[]
    }[]
    initContainers?: Pod['containers']
    volumes?: { name: string; configMap?: { name: string }; secret?: { secretName: string } }[]
  }
  const podOf = (object: (typeof objects)[number]): Pod =>
    (object.spec as { template: { spec: Pod } }).template.spec

  it('are what the kustomization lists, by kind and name', () => {
    expect(objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      'Namespace corral',
      'Service redis',
      'StatefulSet redis',
      'Job load-catalogue',
      'Deployment api',
      'Service api',
      'PodDisruptionBudget api',
      'NetworkPolicy redis'
    ])
  })

  it('select the pods that they mean', () => {
    for (const object of workloads.filter(({ kind }) => kind !== 'Job')) {
      const { selector, template } = object.spec as {
        selector: { matchLabels: Plain }
        template: { metadata: { labels: Plain } }
      }
      expect(template.metadata.labels).toMatchObject(selector.matchLabels)
    }
  })

  it('run nothing as root, bound the memory of every container, and mount what they declare', () => {
    for (const object of workloads) {
      const pod = podOf(object)
      expect(pod.securityContext).toMatchObject({ runAsNonRoot: true })
      const claims = (
        (object.spec as { volumeClaimTemplates?: { metadata: { name: string } }[] }).volumeClaimTemplates ??
        []
      ).map(({ metadata }) => metadata.name)
      const volumes = [...(pod.volumes ?? []).map(({ name }) => name), ...claims]
      for (const container of [...pod.containers, ...(pod.initContainers ?? [])]) {
        expect(container.resources?.limits, container.name).toHaveProperty('memory')
        expect(container.securityContext).toMatchObject({
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] }
        })
        for (const { name } of container.volumeMounts ?? []) expect(volumes).toContain(name)
      }
    }
  })

  it('give Redis its certificate under the names that its tls.conf has, from a secret as cert-manager makes it', () => {
    const { volumes = [] } = podOf(objects.find(({ kind }) => kind === 'StatefulSet')!)
    const tls = volumes.find(({ name }) => name === 'tls')!.secret as unknown as {
      items: { key: string; path: string }[]
    }
    const wanted = [...textOf(join(deploy, 'redis/tls.conf')).matchAll(/^tls-\S+-file .*\/(\S+)$/gm)]
    expect(new Set(tls.items.map(({ path }) => path))).toEqual(new Set(wanted.map(([, file]) => file)))
    expect(new Set(tls.items.map(({ key }) => key))).toEqual(new Set(['ca.crt', 'tls.crt', 'tls.key']))
  })

  it('mount nothing into a read-only volume in which no folder was made for it', () => {
    let nested = 0
    for (const { containers, initContainers = [] } of workloads.map(podOf)) {
      for (const mounts of containers.map(({ volumeMounts = [] }) => volumeMounts)) {
        for (const { mountPath: outer, readOnly } of mounts) {
          for (const { mountPath: inner } of mounts) {
            if (readOnly !== true || !inner.startsWith(`${outer}/`)) continue
            nested++
            expect(initContainers.map(({ command = [] }) => command.join(' ')).join('\n')).toContain(
              `mkdir -p ${inner}`
            )
          }
        }
      }
    }
    expect(nested).toBe(1)
  })

  it('ask only for the secrets that the example and its comments describe', () => {
    const asked = [...fieldsOf(workloads)].flatMap(([name, value]) => {
      if (name === 'secretName') return [value as string]
      if (name === 'secretRef' || name === 'secretKeyRef') return [(value as { name: string }).name]
      return []
    })
    const examples = documentsOf(join(deploy, 'kubernetes/secrets.example.yaml')).map(
      (one) => (one['metadata'] as { name: string }).name
    )
    expect([...new Set(asked)].sort()).toEqual([...examples, 'redis-tls'].sort())
    const files = (
      documentsOf(join(deploy, 'redis/kustomization.yaml'))[0] as {
        configMapGenerator: { files: string[] }[]
      }
    ).configMapGenerator[0]!.files
    for (const file of files) expect(existsSync(join(deploy, 'redis', file)), file).toBe(true)
  })
})

describe('Prometheus and Grafana', () => {
  const exported = new Set(
    [...textOf(join(root, 'examples/reference-api/src/metrics.ts')).matchAll(/'(cache_\w+)'/g)].map(
      ([, name]) => name
    )
  )
  /** Of redis_exporter, by its own documentation. */
  const OF_EXPORTER =
    /^redis_(up|memory_(used|max)_bytes|memory_used_rss_bytes|evicted_keys_total|expired_keys_total|commands_processed_total|rdb_last_bgsave_status|aof_last_write_status|connected_(slaves|clients)|instance_info|keyspace_(hits|misses)_total)$/
  const metricsIn = (expression: string): string[] => expression.match(/\b(cache|redis)_\w+/g) ?? []
  const rules = documentsOf(join(deploy, 'prometheus/alerts.yml'))[0] as {
    groups: { rules: { alert: string; expr: string; annotations: { runbook: string } }[] }[]
  }
  const alerts = rules.groups.flatMap((group) => group.rules)
  const board = JSON.parse(textOf(join(deploy, 'grafana/dashboards/corral.json'))) as {
    panels: { title: string; targets: { expr: string }[] }[]
  }

  it('ask for metrics that there are', () => {
    const expressions = [
      ...alerts.map(({ expr }) => expr),
      ...board.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))
    ]
    expect(expressions.length).toBeGreaterThan(20)
    for (const name of expressions.flatMap(metricsIn)) {
      expect(exported.has(name) || OF_EXPORTER.test(name), name).toBe(true)
    }
  })

  it('say what is compared where series have labels of their own, or nothing ever matches', () => {
    const joined = alerts.map(({ expr }) => expr).filter((expr) => expr.includes('redis_instance_info'))
    expect(joined).toHaveLength(1)
    for (const expr of joined) expect(expr).toMatch(/ and on \(instance\) redis_instance_info/)
  })

  it('name a runbook that there is for each alert', () => {
    for (const { alert, annotations } of alerts) {
      const [path, anchor] = annotations.runbook.split('#') as [string, string?]
      expect(existsSync(join(root, path)), alert).toBe(true)
      if (anchor !== undefined)
        expect(textOf(join(root, path)), alert).toMatch(new RegExp(`^## ${anchor}$`, 'm'))
    }
  })
})

describe('the Terraform files', () => {
  for (const [name, folder] of named([
    join(deploy, 'terraform/elasticache'),
    join(deploy, 'terraform/ec2')
  ])) {
    it(`are HCL that refers to what there is: ${name}`, async () => {
      const texts = filesIn(folder, /\.tf$/).map((file): [string, string] => [file, textOf(file)])
      const declared = new Set<string>()
      for (const [file, text] of texts) {
        const content = (await parseHcl(file, text)) as {
          variable?: Plain
          resource?: Record<string, Plain>
          data?: Record<string, Plain>
          locals?: Plain[]
        }
        for (const variable of Object.keys(content.variable ?? {})) declared.add(`var.${variable}`)
        for (const [type, ones] of Object.entries(content.resource ?? {}))
          for (const one of Object.keys(ones)) declared.add(`${type}.${one}`)
        for (const [type, ones] of Object.entries(content.data ?? {}))
          for (const one of Object.keys(ones)) declared.add(`data.${type}.${one}`)
        for (const locals of content.locals ?? [])
          for (const one of Object.keys(locals)) declared.add(`local.${one}`)
      }
      const all = texts
        .map(([, text]) => text)
        .join('\n')
        .replaceAll(/#.*/g, '')
      const used = all.match(/\b(?:var|local)\.\w+|\bdata\.aws_\w+\.\w+|(?<![\w."])aws_\w+\.\w+/g) ?? []
      expect(used.length).toBeGreaterThan(10)
      for (const reference of used) expect([...declared], reference).toContain(reference)
      for (const [, path] of all.matchAll(/\$\{path\.module\}\/([^"]+)"/g))
        expect(existsSync(join(folder, path!)), path).toBe(true)
    })
  }

  it('watch each node of ElastiCache, which CloudWatch has its series for, and not the group, which it has none for', async () => {
    const file = join(deploy, 'terraform/elasticache/main.tf')
    const { resource } = (await parseHcl(file, textOf(file))) as {
      resource: Record<string, Record<string, { dimensions: Plain; count?: string }[]>>
    }
    const alarms = Object.values(resource['aws_cloudwatch_metric_alarm']!).flat()
    expect(alarms.length).toBeGreaterThan(1)
    for (const { dimensions, count } of alarms) {
      expect(Object.keys(dimensions)).toEqual(['CacheClusterId'])
      expect(count).toBe('${local.node_count}')
    }
  })

  it('make another host of what is another start script, because that runs once; disk and address stay', async () => {
    const file = join(deploy, 'terraform/ec2/main.tf')
    const { resource } = (await parseHcl(file, textOf(file))) as {
      resource: Record<string, Record<string, Plain[]>>
    }
    expect(resource['aws_instance']!['redis']![0]).toMatchObject({
      user_data_replace_on_change: true,
      network_interface: [{ network_interface_id: '${aws_network_interface.redis.id}' }]
    })
    expect(resource['aws_volume_attachment']!['data']![0]).toMatchObject({
      stop_instance_before_detaching: true
    })
  })

  it('refuse what is no HCL', async () => {
    await expect(parseHcl('broken.tf', 'variable "x" {')).rejects.toThrow()
  })
})

describe('the scripts', () => {
  it('are sound for the shells that run them', () => {
    execFileSync('sh', ['-n', join(deploy, 'redis/make-users.sh')])
    const template = join(deploy, 'terraform/ec2/install.sh.tftpl')
    const rendered = textOf(template).replaceAll(/\$\{(\w+)\}/g, (_all, name: string) => {
      const file = {
        redis_conf: 'redis.conf',
        tls_conf: 'tls.conf',
        standalone_conf: 'standalone.conf',
        make_users: 'make-users.sh'
      }[name]
      return file === undefined ? name : textOf(join(dirname(template), '../../redis', file))
    })
    execFileSync('bash', ['-n'], { input: rendered })
    // What EC2 takes as user data, before it is compressed even.
    expect(Buffer.byteLength(rendered)).toBeLessThan(16 * 1024)
  })
})
