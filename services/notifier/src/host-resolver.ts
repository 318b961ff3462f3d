import { type LookupAddress, promises as dns } from 'node:dns'

/** Answers which addresses a name has. */
export interface HostResolver {
  /** By DNS alone, both families. @throws the resolver's error, with a `code`, when there is no address */
  addressesOf(hostname: string): Promise<LookupAddress[]>
  /** Ends the questions under way; they fail with the code ECANCELLED. */
  cancel(): void
}

// Both fit into the five seconds that connecting may take: the second try waits twice as long.
const tryMs = 1_500
const tries = 2
/** How long a family without an answer is waited for once the other one has addresses: some servers drop AAAA. */
const otherFamilyMs = 300

/**
 * Names of receivers are resolved by c-ares, on sockets of its own. getaddrinfo would hold a thread of libuv for each name
 * that does not resolve, for seconds, and whoever needs a thread next waits: receivers name the name servers here.
 * Calls of the same name meanwhile share one question; nothing is remembered after that, so every connection asks again.
 * @param servers addresses, with or without a port; the machine's own unless given
 */
export function createHostResolver(servers?: readonly string[]): HostResolver {
  const resolver = new dns.Resolver({ timeout: tryMs, tries })
  if (servers !== undefined) resolver.setServers(servers)
  const asked = new Map<string, Promise<LookupAddress[]>>()
  return {
    addressesOf(hostname) {
      const known = asked.get(hostname)
      if (known !== undefined) return known
      const asking = bothFamilies(resolver, hostname).finally(() => asked.delete(hostname))
      asked.set(hostname, asking)
      return asking
    },
    cancel: () => resolver.cancel(),
  }
}

function bothFamilies(resolver: dns.Resolver, hostname: string): Promise<LookupAddress[]> {
  return new Promise((resolve, reject) => {
    const found: LookupAddress[] = []
    let open = 2
    let problem: Error | undefined
    let timer: NodeJS.Timeout | undefined
    const end = () => {
      clearTimeout(timer)
      // IPv4 first: from many networks an IPv6 address leads nowhere.
      if (found.length > 0) resolve(found.toSorted((a, b) => a.family - b.family))
      else reject(problem ?? new Error('no addresses'))
    }
    const ask = async (family: 4 | 6, question: Promise<string[]>) => {
      try {
        for (const address of await question) found.push({ address, family })
      } catch (error) {
        // That a family has no record says less than anything else that went wrong.
        if (problem === undefined || codeOf(problem) === 'ENODATA') problem = error as Error
      }
      open--
      if (open === 0) end()
      else if (found.length > 0) timer = setTimeout(end, otherFamilyMs)
    }
    void ask(4, resolver.resolve4(hostname))
    void ask(6, resolver.resolve6(hostname))
  })
}

const codeOf = (problem: Error) => (problem as { code?: string }).code
