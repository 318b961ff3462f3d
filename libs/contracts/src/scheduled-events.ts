import { z } from 'zod'

/**
 * What an Azure machine is told of its own future:
 * https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events
 */
export const scheduledEventsSchema = z.object({
  Events: z.array(
    z.object({
      EventId: z.string(),
      EventType: z.string(),
      NotBefore: z.string().optional(),
      Resources: z.array(z.string()),
    }),
  ),
})
export type ScheduledEvent = z.infer<typeof scheduledEventsSchema>['Events'][number]
