/* SPDX-License-Identifier: MIT */
/* All of libcore. */
#ifndef CORE_INCLUDED
#define CORE_INCLUDED
#include <core/Except.h>
#include <core/Arena.h>
#include <core/HashTable.h>
#include <core/Socket.h>
#include <core/SocketPoll.h>
#include <core/SocketPool.h>
#include <core/HTTP.h>
#include <core/HTTPCall.h>
#include <core/HTTPServer.h>
#endif
