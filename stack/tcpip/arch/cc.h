/* lwIP's view of compiler and platform. An assertion of lwIP that fails means its state is broken: nothing may go on.
 */
#ifndef SMX_TCPIP_ARCH_CC_H
#define SMX_TCPIP_ARCH_CC_H

#include <stdlib.h>
#include <sys/time.h>

#define LWIP_TIMEVAL_PRIVATE    0
#define LWIP_PLATFORM_DIAG(x)   ((void)0)
#define LWIP_PLATFORM_ASSERT(x) smx_lwip_assert(x, __LINE__)

#endif
