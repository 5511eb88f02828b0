#!/usr/bin/perl
# A cable with delay, loss and a limited rate between two interfaces of a namespace: what netem would do, on kernels without
# it. Usage: perl wire.pl LEFT RIGHT DELAY_MS LOSS_PERCENT BYTES_PER_SECOND (0: no limit). Ends with its standard input.
use strict;
use warnings;
use Socket;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

# Linux: <bits/socket.h>, <linux/if_ether.h>, <linux/if_packet.h>, <bits/ioctls.h>.
use constant { AF_PACKET => 17, ETH_P_ALL => 3, SIOCGIFINDEX => 0x8933, SOL_PACKET => 263, PACKET_VNET_HDR => 15 };
use constant { PACKET_OUTGOING => 4, MAX_FRAME => 70_000, MAX_QUEUE => 1000 };

my ($left, $right, $delay_ms, $loss_percent, $rate) = @ARGV;
# A fixed seed: the same frames are lost in each run that sends the same frames.
srand(1);

sub open_interface {
    my ($name) = @_;
    socket(my $socket, AF_PACKET, SOCK_RAW, unpack('S', pack('n', ETH_P_ALL))) or die "socket: $!";
    my $request = pack('a16 x16', $name);
    ioctl($socket, SIOCGIFINDEX, $request) or die "$name: $!";
    my $index = unpack('x16 i', $request);
    # Frames carry checksums that hardware would complete; the header in front of each frame says so, in and out.
    setsockopt($socket, SOL_PACKET, PACKET_VNET_HDR, 1) or die "PACKET_VNET_HDR: $!";
    bind($socket, pack('S n i S C C a8', AF_PACKET, ETH_P_ALL, $index, 0, 0, 0, '')) or die "bind: $!";
    return $socket;
}

my @sockets = map { open_interface($_) } ($left, $right);
my @queues = ([], []);
my @free_at = (0, 0);
$| = 1;
print "ready\n";

while (1) {
    my $now = clock_gettime(CLOCK_MONOTONIC);
    my $wait;
    for my $side (0, 1) {
        my $queue = $queues[$side];
        while (@$queue && $queue->[0][0] <= $now) {
            send($sockets[1 - $side], (shift @$queue)->[1], 0);
        }
        next unless @$queue;
        my $left = $queue->[0][0] - $now;
        $wait = $left if !defined $wait || $left < $wait;
    }
    my $readable = '';
    vec($readable, fileno($_), 1) = 1 for @sockets, \*STDIN;
    select($readable, undef, undef, $wait);
    exit 0 if vec($readable, fileno(STDIN), 1) && !sysread(STDIN, my $ignored, 4096);
    $now = clock_gettime(CLOCK_MONOTONIC);
    for my $side (0, 1) {
        next unless vec($readable, fileno($sockets[$side]), 1);
        my $from = recv($sockets[$side], my $frame, MAX_FRAME, 0);
        next if !defined $from || unpack('x10 C', $from) == PACKET_OUTGOING;
        next if @{ $queues[$side] } >= MAX_QUEUE || rand(100) < $loss_percent;
        my $start = $free_at[$side] > $now ? $free_at[$side] : $now;
        $free_at[$side] = $start + ($rate ? length($frame) / $rate : 0);
        push @{ $queues[$side] }, [$free_at[$side] + $delay_ms / 1000, $frame];
    }
}
